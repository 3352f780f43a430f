"""The page's HTML agrees with the command line and with its own scripts."""

import re
from html.parser import HTMLParser
from typing import get_args, get_type_hints

import pytest
import typer

from faceanim_cli.commands.animation_options import AnimationOptions
from faceanim_cli.commands.web import ON_THE_PAGE as SETTINGS
from faceanim_cli.faces import Framing
from faceanim_cli.motion.library import LIBRARY
from faceanim_cli.web.app import PAGE
from faceanim_cli.web.sentences import ON_THE_PAGE

HTML = (PAGE / "index.html").read_text(encoding="utf-8")
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in PAGE.glob("*.js")}


class Elements(HTMLParser):
    """The attributes of all elements, and the text of labels by what they are for."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.labels: dict[str, str] = {}
        self._of: str | None = None
        self.feed(HTML)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._of = dict(attrs).get("for") if tag == "label" else self._of

    def handle_data(self, data: str) -> None:
        if self._of is not None and data.strip():
            self.labels.setdefault(self._of, data.strip())
            self._of = None


PARSED = Elements()
SLIDERS = {
    str(about["id"]): about
    for tag, about in PARSED.elements
    if tag == "input" and about.get("type") == "range"
}


@pytest.mark.parametrize("name", sorted(name for name, kind in SETTINGS.items() if kind is float))
def test_sliders_have_the_command_lines_limits_and_words(name: str) -> None:
    hint = get_type_hints(AnimationOptions, include_extras=True)[name]
    option = next(part for part in get_args(hint) if isinstance(part, typer.models.OptionInfo))
    slider = SLIDERS[name]
    assert (float(slider["min"] or ""), float(slider["max"] or "")) == (option.min, option.max)
    usual = getattr(AnimationOptions(), name)
    assert float(slider["value"] or "") == (Framing().zoom if usual is None else usual)
    assert PARSED.labels[name] == ON_THE_PAGE[name]


def test_every_motion_of_the_library_can_be_chosen() -> None:
    values = [about["value"] for tag, about in PARSED.elements if about.get("name") == "motion"]
    assert values == [*LIBRARY, "", "live"]


def test_scripts_find_what_they_look_for() -> None:
    ids = {about["id"] for _, about in PARSED.elements if "id" in about}
    asked = {
        name for text in SCRIPTS.values() for name in re.findall(r'(?:at|getElementById)\("([\w-]+)"\)', text)
    }
    assert len(asked) > 30
    assert asked <= ids
    classes = " ".join(about.get("class") or "" for _, about in PARSED.elements).split()
    found = {name for text in SCRIPTS.values() for name in re.findall(r'find\("\.([\w-]+)', text)}
    assert found <= set(classes)


def test_nothing_comes_from_elsewhere() -> None:
    texts = [HTML, *SCRIPTS.values(), (PAGE / "style.css").read_text(encoding="utf-8")]
    assert [
        address for text in texts for address in re.findall(r"https?://[^\s\"'`$]+|@import.*", text)
    ] == []
