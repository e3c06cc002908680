"""The explorer in Python: its selection, what it answers its view, errors as text, a picture without a kernel."""

import builtins
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from project_files import ROOT

from clinometer.errors import DataError, OutputError, UsageError
from clinometer.scenes import Rerun
from clinometer.visualizers import offline_page
from clinometer.visualizers.explorer import Explorer, explorer
from clinometer.visualizers.explorer_picture import describe, picture
from reference.explored import (
    HOSTILE,
    hostile_scene,
    image_scene,
    long_scene,
    sample_gap,
    sample_runs,
    series_scene,
    table_scene,
    text_scene,
)

STATIC = ROOT / "visualizers" / "static"
Message = dict[str, Any]


@pytest.fixture
def two() -> Explorer:
    scenes = [text_scene("one"), text_scene("two", seed=1, layers=2, heads=3, targets=("toxic",))]
    return explorer(scenes, gap=sample_gap(), runs=sample_runs, title="Two posts")


@pytest.fixture
def answers(two: Explorer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Send a message as the view would, and get what comes back."""
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    sent: list[tuple[Message, list[bytes]]] = []
    monkeypatch.setattr(
        two.widget, "send", lambda content, buffers=None: sent.append((content, buffers)), raising=False
    )

    def ask(**message: Any) -> tuple[Message, list[bytes]]:
        two.widget._handle_custom_msg({"re": "7", **message}, [])  # type: ignore[attr-defined]
        assert sent[-1][0]["re"] == "7"
        return sent[-1]

    return ask


# The selection


def test_the_first_view_is_of_the_most_important_head(two: Explorer) -> None:
    importance = np.abs(text_scene("one").importance[0])
    assert importance[two.layer, two.head] == importance.max()
    assert (two.example, two.target, two.query) == ("one", "toxic", -1)


def test_the_selection_is_set_and_heard(two: Explorer) -> None:
    heard: list[Mapping[str, Any]] = []
    two.layer, two.head = 0, 0
    two.observe(heard.append, names=["head", "query"])
    two.layer, two.head, two.query, two.target = 1, 3, 5, "not toxic"
    two.head = 3  # no change, nothing heard
    assert (two.layer, two.head, two.query, two.target) == (1, 3, 5, "not toxic")
    assert [(change["name"], change["new"]) for change in heard] == [("head", 3), ("query", 5)]
    assert all(change["owner"] is two for change in heard)


def test_another_example_keeps_what_it_can(two: Explorer) -> None:
    two.layer, two.head, two.target = 3, 3, "not toxic"
    two.example = "two"
    assert (two.layer, two.head, two.target) == (1, 2, "toxic")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer", 4, "no layer 4 in 'one': 0 to 3 are there"),
        ("head", -1, "no head -1"),
        ("query", 22, "no query 22"),
        ("example", "onee", "no example 'onee'; did you mean 'one'"),
        ("target", "toxik", "no target 'toxik'; did you mean 'toxic'"),
        ("target", 2, "no target 2"),
    ],
)
def test_what_is_not_there_cannot_be_chosen(two: Explorer, name: str, value: Any, message: str) -> None:
    before = getattr(two, name)
    with pytest.raises(DataError, match=message):
        setattr(two, name, value)
    assert getattr(two, name) == before


def test_only_the_selection_is_observed(two: Explorer) -> None:
    with pytest.raises(UsageError, match="no 'heads' to observe; did you mean 'head'"):
        two.observe(print, names="heads")


def test_examples_are_named_once() -> None:
    with pytest.raises(DataError, match="'one' name more than one"):
        explorer([text_scene("one"), text_scene("one")])
    with pytest.raises(DataError, match="no example to explore"):
        explorer([])


# The live view


def test_the_widget_and_python_share_one_selection(two: Explorer) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    heard: list[Any] = []
    two.observe(lambda change: heard.append(change["new"]), names="layer")
    two.widget.layer = 0 if two.layer else 1
    assert two.layer == two.widget.layer and heard == [two.layer]
    two.head = 0 if two.head else 1
    assert two.widget.head == two.head
    assert two.widget is two.widget
    two.close()
    two.close()


def test_ipywidgets_compose_with_it(two: Explorer) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    ipywidgets = pytest.importorskip("ipywidgets")
    slider = ipywidgets.IntSlider(min=0, max=3)
    ipywidgets.link((slider, "value"), (two.widget, "layer"))
    slider.value = (two.layer + 1) % 4
    assert two.layer == slider.value
    two.layer = (two.layer + 1) % 4
    assert slider.value == two.layer
    slider.close()
    two.close()


def test_no_map_is_kept_in_the_notebook(two: Explorer) -> None:
    """What a notebook stores of a widget is its state: the selection and the script, no maps and no words."""
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    state = two.widget.get_state()  # type: ignore[attr-defined]
    assert {name for name in state if not name.startswith("_")} >= {
        "layer",
        "head",
        "example",
        "target",
        "query",
    }
    size = len(json.dumps(state, default=str)) - len(offline_page.script()) - len(offline_page.style())
    assert size < 20_000
    two.close()


def test_the_view_gets_what_it_asks(answers: Any) -> None:
    state = answers(kind="open")[0]["state"]
    assert [one["id"] for one in state["index"]] == ["one", "two"]
    assert state["live"] and state["runs"] and not state["page"] and state["gap"]["n"] == 640
    words, buffers = answers(kind="scene", place=1)
    assert words["words"]["id"] == "two" and len(buffers) == 1
    assert len(answers(kind="maps", place=1)[1][0]) > 100
    window, buffers = answers(kind="map", place=0, layer=1, head=2, window=[0, 3, 4, 9])
    assert [part["shape"] for part in window["layout"] if part["name"] == "attention"] == [[3, 5]]
    assert window["levels"] == 127 and len(buffers) == 1


def test_gates_run_the_model(answers: Any) -> None:
    answer = answers(kind="rerun", place=0, gates=[[0, 1, 0], [2, 3, 0.5]])[0]
    assert answer["value"] == pytest.approx([0.85, 0.15])
    assert answer["gap"] == pytest.approx(-0.105)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"kind": "map", "place": 0, "layer": 9, "head": 0, "window": [0, 1, 0, 1]}, "no head L9.H0"),
        ({"kind": "rerun", "place": 0, "gates": [[0, 9, 0.0]]}, "no head 'L0.H9'"),
        ({"kind": "weather", "place": 0}, "asked for 'weather'"),
        ({"kind": "scene", "place": 7}, "IndexError"),
    ],
    ids=["map", "rerun", "unknown", "place"],
)
def test_errors_are_answered_as_text(answers: Any, message: Message, text: str) -> None:
    assert text in answers(**message)[0]["error"]


def test_what_the_model_raises_is_answered_as_text(two: Explorer, answers: Any) -> None:
    def fails(id: str, gates: Mapping[tuple[int, int], float]) -> Rerun:
        raise ZeroDivisionError("nothing left of the head")

    two._runs = fails
    answer = answers(kind="rerun", place=0, gates=[[0, 0, 0]])[0]
    assert answer["error"] == "ZeroDivisionError: nothing left of the head"
    two._runs = None
    assert "without a way to run" in answers(kind="rerun", place=0, gates=[[0, 0, 0]])[0]["error"]


def test_without_anywidget_the_line_to_install_it(two: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "anywidget":
            raise ImportError("no module named anywidget")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'clinometer\[notebook\]'"):
        _ = two.widget
    monkeypatch.setattr("clinometer.visualizers.explorer.find_spec", lambda name: None)
    assert set(two._repr_mimebundle_()) == {"text/plain", "text/html"}


# Without a kernel


class Tags(HTMLParser):
    """Every tag and attribute of a piece of HTML, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_without_its_kernel_shows_a_picture(two: Explorer) -> None:
    """Only what JupyterLab keeps of an untrusted notebook: inline styles and images that hold their own data."""
    bundle = two._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Explorer(2 examples, 4 layers x 4 heads; showing 'one'")
    if "application/vnd.jupyter.widget-view+json" in bundle:
        assert (
            bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
            == two._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]["model_id"]
        )
    read = Tags(bundle["text/html"])
    assert {tag for tag, _ in read.tags} <= {"div", "p", "span", "img"}
    assert {name for _, attributes in read.tags for name in attributes} <= {
        "class",
        "style",
        "alt",
        "src",
        "title",
    }
    (image,) = [attributes for tag, attributes in read.tags if tag == "img"]
    assert str(image["src"]).startswith("data:image/png;base64,") and "by size" in str(image["alt"])
    assert "Attention is not an explanation" in read.text.replace("\n", " ")
    assert len(bundle["text/html"]) < 200_000
    two.close()


def test_the_picture_is_an_output_of_its_own(two: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterLab tries the view alone where a bundle has one, so the picture comes in a second bundle."""
    display = pytest.importorskip("IPython.display", reason="IPython is not installed")
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(display, "publish_display_data", shown.append)
    two._ipython_display_()
    assert set(shown[-1]) == {"text/html", "text/plain"} and 'class="clino-still"' in shown[-1]["text/html"]
    assert [set(one) for one in shown[:-1]] in (
        [],
        [{"application/vnd.jupyter.widget-view+json", "text/plain"}],
    )
    assert ":has(.clino) .clino-still{display:none}" in offline_page.style()
    two.close()


def test_hostile_text_is_text_in_the_picture() -> None:
    html = explorer([hostile_scene()], title=HOSTILE[1])._fallback()
    read = Tags(html)
    assert {tag for tag, _ in read.tags} <= {"div", "p", "span", "img"}
    assert len([tag for tag, _ in read.tags if tag == "img"]) == 1
    assert HOSTILE[0] in read.text and "⟨U+202E⟩evil" in read.text and "\u202e" not in html
    assert "x" * 50 not in html


@pytest.mark.parametrize(
    "scene",
    [
        text_scene(),
        text_scene(queries=("Die", "Schwester"), attention=None, contribution=None),
        table_scene(),
        image_scene(),
        series_scene(),
        long_scene(2048, layers=2, heads=2),
    ],
    ids=["text", "no maps", "table", "image", "series", "long"],
)
def test_every_kind_has_a_picture(scene: Any) -> None:
    figure = picture(scene, 1, 1)
    assert len(figure.axes) == 3
    figure.canvas.draw()  # no glyph is missing, nothing warns
    assert "layer 1, head 1" in describe(scene, 1, 1)


def test_head_without_a_number_has_no_square() -> None:
    scene = text_scene()
    scene.importance[0, 0, 0] = np.nan
    squares = picture(scene, 1, 1).axes[0].patches
    assert len(squares) == 15 + 1  # and the frame of the chosen head


# Saved


def test_save_says_what_stands_in_the_way(two: Explorer, tmp_path: Path) -> None:
    path = two.save(tmp_path / "heads.html")
    assert path.read_text(encoding="utf-8") == two.page()
    with pytest.raises(OutputError, match="exists"):
        two.save(path)
    two.layer = 0
    two.save(path, force=True)
    assert '"layer": 0' in path.read_text(encoding="utf-8")
    with pytest.raises(DataError, match="more than 100"):
        two.save(tmp_path / "small.html", budget=100)
    assert not (tmp_path / "small.html").exists()


def test_the_page_names_no_address_and_keeps_nothing(two: Explorer) -> None:
    page = two.page()
    assert re.findall(r"""(?:src|href)\s*=\s*["']?(?!data:)[a-z]+:""", page) == []
    code = page + offline_page.script()
    assert "localStorage" not in code and "sessionStorage" not in code and "innerHTML" not in code
    for address in re.findall(r"https?://[^\s\"'<)]+", code):
        assert address.startswith("http://www.w3.org/")  # the name of SVG, which is never fetched
    assert "connect-src data:" in page and "default-src 'none'" in page


def test_hostile_text_does_not_end_a_script() -> None:
    page = explorer([hostile_scene()], title=HOSTILE[1]).page()
    assert "alert(1)</script>" not in page and "<img src=x" not in page
    assert page.count("</script>") == page.count("<script")


# Words


def test_every_phrase_is_there_and_used() -> None:
    phrases = offline_page.phrases()
    code = offline_page.script()
    exact = set(re.findall(r'(?:say\(|name: |\? |: )"([a-z_0-9]+)"', code)) | {"previous", "next"}
    patterns = [re.sub(r"\$\{[^}]*\}", "[a-z_0-9]+", p) for p in re.findall(r"say\([^`\"]*`([^`]+)`", code)]
    patterns += ["row_[a-z]+", "factor_[0-9_]+", "heading_[a-z_]+"]
    said = set(re.findall(r'say\("([a-z_0-9]+)"', code))
    assert len(said) > 60 and said <= set(phrases)
    listed = {
        name
        for names in re.findall(r"\[((?:\"[a-z_]+\"(?:, )?)+)\]\.", code)
        for name in re.findall(r"\w+", names)
    }
    unused = [
        name
        for name in phrases
        if name not in exact | listed and not any(re.fullmatch(pattern, name) for pattern in patterns)
    ]
    assert unused == []


def test_another_language_is_one_more_file() -> None:
    with pytest.raises(UsageError, match=r"no phrases in 'tlh'; add visualizers/static/phrases\.tlh\.json"):
        offline_page.phrases("tlh")


def test_the_words_of_the_explorer_claim_no_cause() -> None:
    text = " ".join(offline_page.phrases().values()).lower()
    assert not re.search(r"\b(fair|unbiased|because|causes|carries|removes)\b", text)


def test_the_parts_join_into_one_module() -> None:
    """No part imports another, and one has what the host calls."""
    code = offline_page.script()
    assert not re.search(r"^\s*import ", code, re.MULTILINE)
    assert code.count("export default") == 1 and code.rstrip().endswith("export default { render };")
    assert sorted(f.name for f in STATIC.glob("*.js")) == sorted(f"{part}.js" for part in offline_page.PARTS)


def test_pure_functions_in_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node on PATH; the same functions run in Chromium in test_explorer_in_browser.py")
    command = [node, "--test", str(ROOT / "tests" / "visualizers" / "explorer.test.mjs")]
    ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_joined_module_is_read_by_node(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node on PATH")
    (tmp_path / "explorer.mjs").write_text(offline_page.script(), encoding="utf-8")
    code = "import('./explorer.mjs').then((m) => { if (typeof m.default.render !== 'function') process.exit(1) })"
    ran = subprocess.run(
        [node, "-e", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
