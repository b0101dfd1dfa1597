"use strict";
(() => {
  const PRINTED = 1000;  // rows and clips that a print shows at most
  const KINDS = ["content", "motion"];
  const SPLITS = {member: "a training clip", image: "a training image", heldout: "a held-out clip", "": "no known clip"};
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const label = (model) => (data.models[model] || {label: model}).label;
  const make = (tag, text, kind) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };
  const act = (text, kind, then) => {
    const button = make("button", text, kind);
    button.type = "button";
    button.addEventListener("click", then);
    return button;
  };
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const clipOf = new Map(data.clips.map((clip) => [clip.clip_id, clip]));
  const rowOf = new Map(data.rows.map((row) => [`${row.model}/${row.id}`, row]));
  const score = (match) => (match ? match.score.toFixed(3) : "n/a");
  const placeOf = (clip) => (clip.file && clip.start_s ? `${clip.file}, from second ${clip.start_s}` : clip.file);
  const fileOf = (id) => (clipOf.has(id) ? placeOf(clipOf.get(id)) : "");
  const named = (id, file) => (file ? `${id} (${file})` : id);

  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const player = (model, generated, training) => {
    const address = data.videos[`${model}/${generated}/${training}`];
    if (!address) return make("p", "This pair has no video: the page plays the strongest pairs. report.pairs says how many.", "quiet");
    const box = make("div", undefined, "player"), video = make("video");
    Object.assign(video, {src: address, loop: true, muted: true, playsInline: true, preload: "auto"});
    video.setAttribute("aria-label", `training clip ${training} beside generated clip ${generated}`);
    const button = act("Play", "", () => (video.paused ? video.play() : video.pause()));
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

  const words = (row, kind, training) => {
    const match = row[kind], limit = data.counts[row.model].limits[kind];
    if (!match) return `No ${kind} score.`;
    const against = match.match === training ? "" : ` against ${named(match.match, fileOf(match.match))}`;
    const frames = `training frame ${match.frames[0]}, generated frame ${match.frames[1]}${match.view ? `, seen ${match.view}` : ""}`;
    const reached = match.verdict ? "replayed" : "not replayed";
    return `Score by ${kind}: ${score(match)}${against} (threshold ${limit === null ? "none" : limit}): ${reached}; ${frames}.`;
  };
  // A pair: the video, the scores of some kinds, and what is known of both clips.
  const describe = (row, training, kinds, kind) => {
    const box = make(kind ? "article" : "div", undefined, kind), clip = clipOf.get(training) || {file: "", caption: "", copies: "unknown"};
    box.append(player(row.model, row.id, training), ...kinds.map((name) => make("p", words(row, name, training))));
    box.append(make("p", `Training clip: ${named(training, placeOf(clip))}, copies ${clip.copies}. ${clip.caption ? `Caption: ${clip.caption}` : "No caption."}`));
    box.append(make("p", `Generated clip: ${named(row.id, row.file)}, ${label(row.model)}. ${row.prompt ? `Prompt: ${row.prompt}` : "No prompt."}`));
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
    open(`${row.id}, ${label(row.model)}`, match ? describe(row, match.match, KINDS) : make("p", row.reason || "No match."));
  };

  // Worst matches: the strongest by content, then by motion, one for each training clip of a model.
  for (const model of Object.keys(data.models)) {
    for (const kind of KINDS) {
      const shown = new Set();
      const best = data.rows.filter((row) => row.model === model && row[kind]).sort((a, b) => b[kind].score - a[kind].score)
        .filter((row) => !shown.has(row[kind].match) && shown.add(row[kind].match)).slice(0, kind === "content" ? 4 : 2);
      for (const row of best) {
        const card = describe(row, row[kind].match, [kind], "pair");
        byId("worst").append(card);
        const video = card.querySelector("video");
        if (video) seen.observe(video);
      }
    }
  }

  // All prompts.
  const matched = (row) => row.content || row.motion;
  const splitOf = (row) => (data.models[row.model].prompted ? SPLITS[row.split] || row.split : "nothing, no prompt");
  const sourcesOf = (row) => KINDS.map((kind) => row[kind] && clipOf.has(row[kind].match) && clipOf.get(row[kind].match).source).filter(Boolean);
  const copiesOf = (row) => (matched(row) && clipOf.has(matched(row).match) ? clipOf.get(matched(row).match).copies : 0);
  const columns = [
    ["Model", (row) => label(row.model)], ["Generated clip", (row) => row.id], ["Prompt", (row) => row.prompt || "none"],
    ["Content", (row) => (row.content ? row.content.score : -2)], ["Motion", (row) => (row.motion ? row.motion.score : -2)],
    ["Closest training clip", (row) => (matched(row) ? matched(row).match : "")], ["Its copies", copiesOf], ["Prompt describes", splitOf],
  ];
  const [ID, CONTENT, MOTION, CLOSEST, COPIES] = [1, 3, 4, 5, 6];
  const state = {by: CONTENT, down: true, page: 0, size: 50, rows: data.rows, printing: false};
  const heads = columns.map(([name], place) => {
    const head = make("th");
    head.scope = "col";
    head.append(act(name, "", () => {
      state.down = state.by === place ? !state.down : [CONTENT, MOTION, COPIES].includes(place);
      state.by = place;
      update();
    }));
    return head;
  });
  document.querySelector("#table thead tr").append(...heads);
  const options = (id, values) => byId(id).append(...[...new Set(values)].sort().map((value) => new Option(value, value)));
  options("by-split", data.rows.map(splitOf));
  options("by-source", data.clips.map((clip) => clip.source));

  const FITS = {
    "any": (content, motion) => content || motion, "content": (content) => content, "motion": (content, motion) => motion,
    "both": (content, motion) => content && motion, "content only": (content, motion) => content && !motion,
    "motion only": (content, motion) => motion && !content, "none": (content, motion) => !content && !motion,
  };
  const searched = (row) => [row.id, row.file, row.prompt, ...KINDS.flatMap((kind) => (row[kind] ? [row[kind].match, fileOf(row[kind].match)] : []))]
    .join("\n").toLowerCase();
  const kept = () => {
    const [model, wanted, split, source] = ["by-model", "by-verdict", "by-split", "by-source"].map((id) => byId(id).value);
    const [content, motion] = KINDS.map((kind) => byId(`by-${kind}`).valueAsNumber), text = byId("by-text").value.trim().toLowerCase();
    const reaches = (match, least) => Number.isNaN(least) || Boolean(match && match.score >= least);
    return (row) => (!model || row.model === model) && (!split || splitOf(row) === split) && (!source || sourcesOf(row).includes(source))
      && (!wanted || FITS[wanted](Boolean(row.content && row.content.verdict), Boolean(row.motion && row.motion.verdict)))
      && reaches(row.content, content) && reaches(row.motion, motion) && (!text || searched(row).includes(text));
  };
  const update = () => {
    const value = columns[state.by][1], sign = state.down ? -1 : 1;
    const keyed = data.rows.filter(kept()).map((row) => [value(row), row]);
    state.rows = keyed.sort(([a, one], [b, other]) => sign * compare(a, b) || compare(one.id, other.id)).map(([, row]) => row);
    state.page = 0;
    show();
  };
  const cellOf = (row, place) => {
    const [name, value] = columns[place], kind = {[CONTENT]: "content", [MOTION]: "motion"}[place];
    const cell = make("td", undefined, kind || place === COPIES ? "number" : "");
    cell.dataset.label = name;
    if (kind) cell.append(act(score(row[kind]), row[kind] && row[kind].verdict ? "hit" : "", () => openRow(row, kind)));
    else if (place === ID) cell.append(act(row.id, "", () => openRow(row, "content")));
    else cell.textContent = value(row);
    const file = place === ID ? row.file : place === CLOSEST && matched(row) ? fileOf(matched(row).match) : "";
    if (file) {
      const shown = make("span", undefined, "file");
      for (const part of file.split(/(?<=[/_])/)) shown.append(part, make("wbr"));  // a path breaks between its folders
      cell.append(shown);
    }
    return cell;
  };
  const show = () => {
    const pages = Math.max(1, Math.ceil(state.rows.length / state.size));
    const first = state.printing ? 0 : state.page * state.size, part = state.rows.slice(first, first + (state.printing ? PRINTED : state.size));
    document.querySelector("#table tbody").replaceChildren(...part.map((row) => {
      const line = make("tr");
      line.append(...columns.map((_, place) => cellOf(row, place)));
      return line;
    }));
    heads.forEach((head, place) => head.setAttribute("aria-sort", place !== state.by ? "none" : state.down ? "descending" : "ascending"));
    byId("found").textContent = `${state.rows.length} of ${data.rows.length} generated clips`;
    byId("unprinted").textContent = state.rows.length > PRINTED ? `${state.rows.length - PRINTED} further rows are not printed.` : "";
    byId("page").textContent = `page ${state.page + 1} of ${pages}`;
    byId("back").disabled = state.page === 0;
    byId("next").disabled = state.page + 1 >= pages;
  };
  for (const id of ["by-model", "by-verdict", "by-split", "by-source"]) byId(id).addEventListener("change", update);
  for (const id of ["by-text", "by-content", "by-motion"]) byId(id).addEventListener("input", update);
  byId("back").addEventListener("click", () => { state.page -= 1; show(); });
  byId("next").addEventListener("click", () => { state.page += 1; show(); });
  update();

  // Is my clip in there?
  const byTimes = [...data.clips].sort((a, b) => b.content_times + b.motion_times - a.content_times - a.motion_times || compare(a.clip_id, b.clip_id));
  let most = 20;
  const nearest = (clip, kind) => {
    const row = rowOf.get(`${clip[`${kind}_model`]}/${clip[`${kind}_generated`]}`);
    if (!row) return [];
    const text = `${kind}: ${clip[`${kind}_score`].toFixed(3)} (threshold ${clip[`${kind}_threshold`] || "none"}), ${named(row.id, row.file)}, ${label(row.model)} `;
    return [make("br"), text, act("Show the pair", "", () => open(`${clip.clip_id} and ${row.id}`, describe(row, clip.clip_id, KINDS)))];
  };
  const search = () => {
    const text = byId("clip-text").value.trim().toLowerCase(), shown = state.printing ? PRINTED : most;
    const found = byTimes.filter((clip) => !text || [clip.clip_id, clip.file, clip.caption].some((value) => value && value.toLowerCase().includes(text)));
    byId("clips-found").textContent = found.length ? `${found.length} of ${data.clips.length} training clips, those replayed most often first`
      : `Not among the ${data.clips.length} training clips of this audit. That does not say that the model never saw it.`;
    byId("clips-more").hidden = found.length <= shown;
    byId("clips-unprinted").textContent = found.length > PRINTED ? `${found.length - PRINTED} further clips are not printed.` : "";
    byId("clips").replaceChildren(...found.slice(0, shown).map((clip) => {
      const item = make("li");
      item.append(make("strong", named(clip.clip_id, placeOf(clip))), make("br"), clip.answer, make("br"));
      item.append(make("span", [clip.caption, `copies ${clip.copies}`].filter(Boolean).join("; "), "quiet"));
      item.append(...KINDS.flatMap((kind) => nearest(clip, kind)));
      return item;
    }));
  };
  byId("clip-text").addEventListener("input", () => { most = 20; search(); });
  byId("clips-more").addEventListener("click", () => { most += 100; search(); });
  search();

  // A print has the rows of all pages, and what is folded is open.
  const folded = [...document.querySelectorAll("details")];
  const print = (on) => {
    if (state.printing === on) return;
    state.printing = on;
    for (const part of folded) {
      if (on) part.dataset.open = part.open;
      part.open = on || part.dataset.open === "true";
    }
    show();
    search();
  };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
})();
