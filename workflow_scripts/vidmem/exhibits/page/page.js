"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const label = (model) => (data.models[model] || {label: model}).label;
  const make = (tag, text, kind) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };
  const score = (match) => (match ? match.score.toFixed(3) : "");
  const videoOf = (model, generated, training) => data.videos[`${model}/${generated}/${training}`];

  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const player = (model, generated, training) => {
    const address = videoOf(model, generated, training);
    if (!address) return make("p", "This pair has no video in the page. Raise report.pairs in the configuration.", "quiet");
    const box = make("div", undefined, "player"), video = make("video"), button = make("button", "Play");
    Object.assign(video, {src: address, loop: true, muted: true, playsInline: true, preload: "auto"});
    video.setAttribute("aria-label", `training clip ${training} beside generated clip ${generated}`);
    button.type = "button";
    button.addEventListener("click", () => (video.paused ? video.play() : video.pause()));
    video.addEventListener("play", () => { button.textContent = "Pause"; });
    video.addEventListener("pause", () => { button.textContent = "Play"; });
    box.append(video, button);
    return box;
  };
  // A video plays while it is seen, unless the reader wants no movement.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !calm) entry.target.play().catch(() => {});
      else entry.target.pause();
    }
  });

  const words = (row, kind) => {
    const match = row[kind];
    if (!match) return `${kind}: no score`;
    const seen = match.view ? `, seen ${match.view}` : "";
    return `${kind}: ${score(match)} against ${match.match}${seen}${match.verdict ? " (replayed)" : ""}`;
  };

  const describe = (row, training) => {
    const box = make("div");
    box.append(player(row.model, row.id, training));
    box.append(make("p", row.prompt ? `Prompt: ${row.prompt}` : "Without a prompt."));
    const clip = data.clips.find((one) => one.clip_id === training);
    if (clip) box.append(make("p", `Training clip: ${clip.caption || "without a caption"}. Copies in training: ${clip.copies}.`));
    if (clip && clip.file) box.append(make("p", `File: ${clip.file}`));
    box.append(make("p", words(row, "content")), make("p", words(row, "motion")));
    return box;
  };

  const open = (title, body) => {
    byId("dialog-title").textContent = title;
    byId("dialog-body").replaceChildren(body);
    byId("dialog").showModal();
    const video = byId("dialog-body").querySelector("video");
    if (video && !calm) video.play().catch(() => {});
  };
  byId("dialog").addEventListener("close", () => byId("dialog-body").replaceChildren());
  const openRow = (row, kind) => {
    const match = row[kind] || row.content || row.motion;
    open(`${row.id}, ${label(row.model)}`, match ? describe(row, match.match) : make("p", row.reason || "No match."));
  };

  // Worst matches: the strongest by content, then by motion, one for each training clip of a model.
  for (const model of Object.keys(data.models)) {
    for (const kind of ["content", "motion"]) {
      const shown = new Set();
      const best = data.rows.filter((row) => row.model === model && row[kind]).sort((a, b) => b[kind].score - a[kind].score)
        .filter((row) => !shown.has(row[kind].match) && shown.add(row[kind].match)).slice(0, kind === "content" ? 4 : 2);
      for (const row of best) {
        const card = make("article", undefined, "pair");
        card.append(player(row.model, row.id, row[kind].match));
        card.append(make("p", `${label(model)}: ${words(row, kind)}`));
        card.append(make("p", row.prompt ? `Prompt: ${row.prompt}` : "Without a prompt.", "quiet"));
        byId("worst").append(card);
        const video = card.querySelector("video");
        if (video) seen.observe(video);
      }
    }
  }

  // All prompts.
  const clipOf = new Map(data.clips.map((clip) => [clip.clip_id, clip]));
  const copiesOf = (row) => (row.content && clipOf.has(row.content.match) ? clipOf.get(row.content.match).copies : 0);
  const columns = [
    ["Model", (row) => label(row.model)], ["Generated clip", (row) => row.id], ["Prompt", (row) => row.prompt],
    ["Content", (row) => (row.content ? row.content.score : -2), "content"], ["Motion", (row) => (row.motion ? row.motion.score : -2), "motion"],
    ["Closest training clip", (row) => (row.content ? row.content.match : "")], ["Its copies", (row) => copiesOf(row)], ["Prompt from", (row) => row.split || "none"],
  ];
  const state = {by: 3, down: true, page: 0, size: 50, rows: data.rows};
  const heads = columns.map(([name], place) => {
    const head = make("th"), button = make("button", name);
    button.type = "button";
    button.addEventListener("click", () => {
      state.down = state.by === place ? !state.down : place === 3 || place === 4 || place === 6;
      state.by = place;
      update();
    });
    head.append(button);
    return head;
  });
  document.querySelector("#table thead tr").append(...heads);
  for (const split of [...new Set(data.rows.map((row) => row.split || "none"))].sort()) byId("by-split").append(new Option(split, split));

  const verdictOf = (row) => ({content: row.content && row.content.verdict, motion: row.motion && row.motion.verdict});
  const kept = (row) => {
    const model = byId("by-model").value, wanted = byId("by-verdict").value, split = byId("by-split").value;
    const text = byId("by-text").value.trim().toLowerCase(), found = verdictOf(row);
    if (model && row.model !== model) return false;
    if (split && (row.split || "none") !== split) return false;
    if (wanted === "none" ? found.content || found.motion : wanted && !found[wanted]) return false;
    return !text || [row.id, row.prompt, row.content && row.content.match, row.motion && row.motion.match]
      .some((value) => value && value.toLowerCase().includes(text));
  };
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const update = () => {
    const value = columns[state.by][1], sign = state.down ? -1 : 1;
    state.rows = data.rows.filter(kept).sort((a, b) => sign * compare(value(a), value(b)) || compare(a.id, b.id));
    state.page = 0;
    show();
  };
  const show = () => {
    const pages = Math.max(1, Math.ceil(state.rows.length / state.size));
    const part = state.rows.slice(state.page * state.size, (state.page + 1) * state.size);
    document.querySelector("#table tbody").replaceChildren(...part.map((row) => {
      const line = make("tr");
      columns.forEach(([, value, kind], place) => {
        const cell = make("td", undefined, kind || place === 6 ? "number" : "");
        if (place === 1 || kind) {
          const button = make("button", kind ? score(row[kind]) || "n/a" : row.id, kind && row[kind] && row[kind].verdict ? "hit" : "");
          button.type = "button";
          button.addEventListener("click", () => openRow(row, kind || "content"));
          cell.append(button);
        } else cell.textContent = value(row);
        line.append(cell);
      });
      return line;
    }));
    heads.forEach((head, place) => head.setAttribute("aria-sort", place !== state.by ? "none" : state.down ? "descending" : "ascending"));
    byId("found").textContent = `${state.rows.length} of ${data.rows.length} generated clips`;
    byId("page").textContent = `page ${state.page + 1} of ${pages}`;
    byId("back").disabled = state.page === 0;
    byId("next").disabled = state.page + 1 >= pages;
  };
  for (const id of ["by-model", "by-verdict", "by-split"]) byId(id).addEventListener("change", update);
  byId("by-text").addEventListener("input", update);
  byId("back").addEventListener("click", () => { state.page -= 1; show(); });
  byId("next").addEventListener("click", () => { state.page += 1; show(); });
  update();

  // Is my clip in there?
  const rowOf = new Map(data.rows.map((row) => [`${row.model}/${row.id}`, row]));
  const byTimes = [...data.clips].sort((a, b) => b.content_times + b.motion_times - a.content_times - a.motion_times || compare(a.clip_id, b.clip_id));
  let most = 20;
  const search = () => {
    const text = byId("clip-text").value.trim().toLowerCase();
    const found = byTimes.filter((clip) => !text || [clip.clip_id, clip.file, clip.caption].some((value) => value && value.toLowerCase().includes(text)));
    byId("clips-found").textContent = found.length ? `${found.length} of ${data.clips.length} training clips, those replayed most often first`
      : `Not among the ${data.clips.length} training clips that were compared. That does not say that the model never saw it.`;
    byId("clips-more").hidden = found.length <= most;
    byId("clips").replaceChildren(...found.slice(0, most).map((clip) => {
      const item = make("li");
      item.append(make("strong", clip.clip_id), make("br"), clip.answer, make("br"));
      item.append(make("span", [clip.caption, clip.file, `copies ${clip.copies}`].filter(Boolean).join("; "), "quiet"));
      for (const kind of ["content", "motion"]) {
        const row = rowOf.get(`${clip[`${kind}_model`]}/${clip[`${kind}_generated`]}`);
        if (!row) continue;
        const button = make("button", `Show the closest by ${kind}: ${row.id}`);
        button.type = "button";
        button.addEventListener("click", () => open(`${clip.clip_id} and ${row.id}`, describe(row, clip.clip_id)));
        item.append(make("br"), button);
      }
      return item;
    }));
  };
  byId("clip-text").addEventListener("input", () => { most = 20; search(); });
  byId("clips-more").addEventListener("click", () => { most += 100; search(); });
  search();
})();
