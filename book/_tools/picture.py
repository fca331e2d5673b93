"""Take the README's picture from the built start page: where its slider begins.

python book/_tools/picture.py    after `make book`
"""

import base64
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

page = (ROOT / "_build/html/book/index.html").read_text(encoding="utf-8")
frame = re.search(
    r'class="confseg-explore-frame" src="data:image/webp;base64,([^"]+)"', page
)
if frame is None:
    raise SystemExit("the start page shows no slider: run `make book` first")
(ROOT / "book/_static/nodule.webp").write_bytes(base64.b64decode(frame[1]))
