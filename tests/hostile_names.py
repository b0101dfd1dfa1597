"""File names that break careless readers. Bytes that are no UTF-8 stand as Python decodes them."""

NAMES = [
    "a copy-0.mp4",
    "cost $5 and $\\frac{1}{2}$.mp4",
    "two\nlines\tand\r\x1b[31m.mp4",
    "=cmd|' C'!A0, \"quoted\".mp4",
    "<script>alert(1)<!--.mp4",
    "{run} & {{model}} 100% #_~^.mp4",
    "\u202egnp.exe\u202c 🎉 fête.mp4",
    "| ![x](y) `code`.mp4",
    "n" * 240 + "-0007.mp4",
]
UNDECODABLE = "caf\udce9.mp4"
