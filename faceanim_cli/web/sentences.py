"""Rewords messages of the command line for the web page.

Paths of the server become the names that people know their files by. What only a terminal could do (an
option, a command to type, a package to install) is left out; what the page has under another name gets that.
"""

import re
from collections.abc import Mapping

ON_THE_PAGE = {
    "pose": "Head",
    "expression": "Expression",
    "mouth": "Mouth",
    "eyes": "Eyelids",
    "gaze": "Gaze",
    "smooth": "Steadier",
    "size": "Size",
    "face": "Face",
    "zoom": "Nearer",
    "absolute": "Same person",
    "paste-back": "Whole photo",
    "weights": "Model",
}
"""What the page calls an option."""

OUR_FAULT = "Something went wrong inside faceanim. The window that it was started from says more."
ANOTHER_VERSION = "This page is of another version of faceanim: reload it"
NO_MEMORY = "This computer ran out of memory. A smaller size or a shorter video needs less."
FOR_A_TERMINAL = re.compile(r"(?<!\w)--?[a-z]|`|\bpip\b|\bfaceanim [a-z]|[A-Z]+_[A-Z_]+")
PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[/\\][^\s/\\:;,'\"]+)+[/\\]([^\s/\\:;,'\"]+)")


def for_page(sentence: str, names: Mapping[str, str]) -> str:
    """A sentence of an error or a warning, for the page.

    Args:
        sentence: as the command line tells it.
        names: of files, by the paths that may be in it.
    """
    if sentence.startswith("internal error"):
        return OUR_FAULT
    if sentence.startswith("out of memory"):
        return NO_MEMORY
    paths = sorted(names, key=len, reverse=True)
    for number, path in enumerate(paths):  # names are put in last: what is in them is no advice
        sentence = sentence.replace(path, f"\0{number}\0")
    sentence = PATH.sub(r"\1", " ".join(sentence.split()))
    first, *rest = re.split(r"(; |: )", sentence)
    told = re.sub(r"--([a-z-]+)", lambda option: ON_THE_PAGE.get(option[1], option[1]), first)
    for mark, part in zip(rest[::2], rest[1::2], strict=True):
        ways = [way for way in part.split(", or ") if not FOR_A_TERMINAL.search(way)]
        told += mark + ", or ".join(ways) if ways else ""
    told = told.replace("`", "")
    return re.sub("\0(\\d+)\0", lambda found: names[paths[int(found[1])]], told)
