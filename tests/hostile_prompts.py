"""Prompts that break careless readers, and a writer of prompt lists."""

import json

from vidmem.base.store import save_table

HOSTILE = [
    "../../etc/passwd",
    "C:\\windows\\system32\\con",
    "<script>alert(1)</script> | a | b",
    "![x](http://example.invalid/t.png) `code`",
    "x" * 10_000,
    "🎉👩‍👩‍👧 fête",
    "\u202egnp.exe\u202c of a cat",
    "two\nlines\r\nand a tab\tand \u2028 a separator",
    "=1+1",
    "$(rm -rf /); '\"; DROP TABLE prompts; --",
]
REFUSED = {
    "a\0null": "U+0000",
    "an\x1bescape": "U+001B",
    "a\x85C1": "U+0085",
    "a\ufffdcaf": "U+FFFD",
    "a mark\ufeff within": "U+FEFF",
    "a nonchar\ufdd0": "U+FDD0",
    "the last\U0010ffff": "U+10FFFF",
}
"""Texts that no caption or prompt may have, and the character that says so."""


def write(path, table):
    if path.suffix in (".csv", ".tsv"):
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    elif path.suffix == ".parquet":
        save_table(path, table)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")), encoding="utf-8")
    return path
