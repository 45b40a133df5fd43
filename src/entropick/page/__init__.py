"""What every page is made of: one HTML file that needs no network, runs no foreign script and sends nothing.

`document.py` puts a room's template, style and script into one file under a policy that allows these and no more, and
has how charts look and pictures become data; `words.py` is what the measures are called, mean and hide, and how
numbers are written.
"""

from entropick.page.document import Sheet, render, sprite_sheet

__all__ = ["Sheet", "render", "sprite_sheet"]
