"""A saved review in other forms: files that are whole, a PDF that is tagged, refusals before any drawing."""

import dataclasses
import json
import os
import shutil
import sys
import types
import xml.etree.ElementTree as ET

import huggingface_hub
import pytest
import yaml
from test_published_law import hired

import clinometer.cli as cli
import clinometer.report_commands as commands
from clinometer import pdf_files
from clinometer.errors import OutputError
from clinometer.evidence_files import write as write_evidence
from clinometer.pdf_files import save_pdf
from clinometer.published_law import LawQuestion, published
from clinometer.records import Review
from clinometer.review import to_json
from clinometer.visualizers import page
from clinometer.visualizers.phrases import english
from reference.pdf_marks import has_tag, is_tagged
from reference.reviews import SCRIPT, sample_review

SECRET = "Ada Lovelace"


@pytest.fixture(scope="module")
def review() -> Review:
    made = sample_review(rows=60, layers=1, heads=1, hostile=True)
    view = dataclasses.replace(made.views[0], ids=(SECRET,), title=f"the lowest row, {SECRET} (-1.2 logit)")
    return dataclasses.replace(made, views=(view,))


def small_page(review) -> str:
    """A page as short as a page can be that is this review's."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Review &lt;b&gt;</title></head><body><main>'
        f"<h1>Report {page.report_id(review)}</h1><h2>信用 سجل</h2><table><caption>t</caption><thead><tr><th>a</th></tr>"
        "</thead><tbody><tr><td>1</td></tr></tbody></table></main></body></html>"
    )


@pytest.fixture
def folder(review, tmp_path):
    target = tmp_path / "review"
    target.mkdir()
    (target / "review.json").write_text(to_json(review), encoding="utf-8")
    (target / "report.html").write_text(small_page(review), encoding="utf-8")
    return target


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def printed(monkeypatch):
    """A printer that writes a PDF of nine bytes: what is tested is what is done with it."""
    pages = []

    def printer(text, made):
        pages.append(text)
        made.write_bytes(b"%PDF-1.7\n%%EOF\n")

    monkeypatch.setattr(pdf_files, "browser", lambda: "chromium")
    monkeypatch.setattr(pdf_files, "_by_chromium", printer)
    return pages


# Forms


def test_every_form_is_written_and_said(call, folder, printed, review):
    code, out, err = call("report", folder, "--format", "pdf,md", "--format", "junit", "--out", "forms")
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()] == [
        os.path.join("forms", name) for name in ("report.pdf", "card.md", "junit.xml")
    ]
    assert "printed by chromium" in out
    assert printed == [small_page(review)], "the page that was saved is the page that is printed"
    root = ET.parse("forms/junit.xml").getroot()
    assert int(root.get("tests")) == len(review.audit.verdicts)
    assert SCRIPT in root[0].find("testcase/failure").text + "".join(root.itertext())
    huggingface_hub.ModelCard.load("forms/card.md")
    assert sorted(os.listdir("forms")) == ["card.md", "junit.xml", "report.pdf"], "nothing temporary is left"
    assert os.stat("forms/report.pdf").st_mode & 0o777 == 0o644


def test_the_pdf_lies_beside_the_review_unless_said(call, folder, printed):
    code, out, _ = call("report", folder, "--json")
    assert code == 0
    assert json.loads(out) == {"pdf": str(folder / "report.pdf")}
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_copy_without_text_holds_none(call, folder, review, monkeypatch):
    seen = []
    monkeypatch.setattr("clinometer.visualizers.plates.draw", lambda made, **_: seen.append(made))
    monkeypatch.setattr(
        "clinometer.visualizers.page.render", lambda made, drawn, **_: f"<p>{to_json(made)}</p>"
    )
    arguments = ["report", folder, "--format", "html,json,md,junit", "--no-text", "--out", "copy", "--quiet"]
    code, _, err = call(*arguments)
    assert (code, err) == (0, "")
    for name in ("report.html", "review.json", "card.md", "junit.xml"):
        written = (folder.parent / "copy" / name).read_text(encoding="utf-8")
        assert written and SECRET not in written
    assert SECRET in (folder / "review.json").read_text(encoding="utf-8")
    assert SECRET not in to_json(seen[0])


def test_a_review_without_its_page_is_drawn(call, folder, monkeypatch):
    (folder / "report.html").unlink()
    monkeypatch.setattr("clinometer.visualizers.plates.draw", lambda made, **_: None)
    monkeypatch.setattr("clinometer.visualizers.page.render", lambda made, drawn, **_: made.title)
    assert call("report", folder, "--format", "html", "--quiet")[0] == 0
    assert SCRIPT in (folder / "report.html").read_text(encoding="utf-8")


def linked(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    link = '<p class="beside"><a href="explorer.html">Open</a></p>\n'
    (folder / "report.html").write_text(page.replace("</main>", f"{link}</main>"), encoding="utf-8")


def test_the_explorer_goes_where_its_page_goes(call, folder):
    linked(folder)
    (folder / "explorer.html").write_text("<p>heads</p>", encoding="utf-8")
    code, out, _ = call("report", folder, "--format", "html", "--out", "there", "--json")
    assert code == 0 and set(json.loads(out)) == {"html", "explorer"}
    there = folder.parent / "there"
    assert (there / "report.html").read_bytes() == (folder / "report.html").read_bytes()
    assert (there / "explorer.html").read_text(encoding="utf-8") == "<p>heads</p>"
    assert call("report", folder, "--format", "html", "--out", "there")[0] == 3, "neither is replaced"
    code, out, _ = call("report", folder, "--format", "html", "--force")
    assert code == 0 and out.count("saved:") == 1, "where it lies already it stays"


def test_a_page_without_its_explorer_loses_the_link(call, folder, review):
    linked(folder)
    assert call("report", folder, "--format", "html", "--out", "there")[0] == 0
    assert (folder.parent / "there" / "report.html").read_text(encoding="utf-8") == small_page(review)
    assert os.listdir(folder.parent / "there") == ["report.html"]


def test_a_copy_without_text_has_no_explorer(call, folder, monkeypatch):
    (folder / "explorer.html").write_text(SECRET, encoding="utf-8")
    monkeypatch.setattr("clinometer.visualizers.plates.draw", lambda made, **_: None)
    monkeypatch.setattr(
        "clinometer.visualizers.page.render", lambda made, drawn, explorer, language: f"[{explorer}]"
    )
    assert call("report", folder, "--format", "html", "--no-text", "--out", "copy")[0] == 0
    assert os.listdir(folder.parent / "copy") == ["report.html"]
    assert (folder.parent / "copy" / "report.html").read_text(encoding="utf-8") == "[]"
    (folder / "report.html").unlink()
    assert call("report", folder, "--format", "html", "--quiet")[0] == 0
    assert (folder / "report.html").read_text(encoding="utf-8") == "[explorer.html]", "drawn anew beside it"


def test_a_page_in_another_language_is_drawn_anew(call, folder, monkeypatch, tmp_path):
    texts = {key: f"⟦{text}⟧" for key, text in english().texts.items()}
    (tmp_path / "xx.json").write_text(json.dumps(texts), encoding="utf-8")
    drawn = []
    monkeypatch.setattr("clinometer.visualizers.plates.draw", lambda made, **_: None)
    monkeypatch.setattr(
        "clinometer.visualizers.page.render", lambda made, pictures, **given: drawn.append(given) or "there"
    )
    arguments = ["report", folder, "--format", "html", "--out", "other", "--quiet"]
    assert call(*arguments, "--language", "xx.json")[0] == 0
    assert drawn == [{"explorer": "", "language": "xx.json"}]
    del texts["nav.who"]
    (tmp_path / "xx.json").write_text(json.dumps(texts), encoding="utf-8")
    code, _, err = call(*arguments, "--language", "xx.json", "--force")
    assert code == 2 and "lacks the phrase 'nav.who'" in err and len(drawn) == 1
    code, _, err = call("report", folder, "--format", "md", "--language", "xx.json", "--force")
    assert code == 2 and "--language is of the page" in err


def test_answers_that_are_not_whole_are_not_drawn_anew(call, folder):
    (folder / "report.html").unlink()
    values = json.loads((folder / "review.json").read_text(encoding="utf-8"))
    values["mitigated"] = {"question": {}, "sentences": []}
    (folder / "review.json").write_text(json.dumps(values), encoding="utf-8")
    code, _, err = call("report", folder, "--format", "html")
    assert code == 3 and "mitigated lacks the key 'before': an earlier version wrote it" in err


def test_the_page_opens_or_is_named(call, folder, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda uri: not opened.append(uri))
    arguments = ["report", folder, "--format", "html", "--out", "a b", "--open"]
    assert call(*arguments)[0] == 0
    assert opened[0].startswith("file:///") and opened[0].endswith("/a%20b/report.html")
    monkeypatch.setattr("webbrowser.open", lambda uri: False)
    _, out, _ = call(*arguments, "--force")
    assert "no browser could be started" in out


# Tables of a law


def lawful(review, folder):
    """The folder with evidence of the law's own example beside its review."""
    made = dataclasses.replace(review, data={**review.data, "name": "d.csv", "source": "one year"})
    (folder / "review.json").write_text(to_json(made), encoding="utf-8")
    write_evidence(hired(), folder / "evidence.parquet")
    return made


def test_tables_of_the_law_are_counted_from_the_evidence_of_a_saved_review(call, folder, review, monkeypatch):
    drawn = []
    monkeypatch.setattr("clinometer.visualizers.plates.draw", lambda made, **_: drawn.append(made))
    monkeypatch.setattr("clinometer.visualizers.page.render", lambda made, drawn, **_: page.report_id(made))
    made = lawful(review, folder)
    arguments = ["report", folder, "--format", "html,json", "--local-law-144", "sex:race", "--quiet"]
    assert call(*arguments, "--out", "law")[0] == 0
    asked = LawQuestion(sex="sex", race_ethnicity="race")
    expected = dataclasses.replace(made, law=published(hired(), asked, source="d.csv; one year"))
    assert drawn[0].law == expected.law and made.law is None
    assert (folder.parent / "law" / "review.json").read_text(encoding="utf-8") == to_json(expected)
    assert (folder.parent / "law" / "report.html").read_text(encoding="utf-8") == page.report_id(expected)
    code, _, err = call("report", "law", "--format", "json", "--local-law-144", "sex:race", "--out", "again")
    assert code == 2 and "has its tables of local-law-144 already" in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["json", "--local-law-144", "sex:race"], 2, "--local-law-144 needs another folder (--out FOLDER)"),
        (
            ["junit,md", "--local-law-144", "sex:race", "--out", "o"],
            2,
            "adds tables to a page, a PDF or JSON",
        ),
        (["json", "--local-law-144", "sex", "--out", "o"], 2, "two columns are expected, SEX:RACE"),
        (["json", "--local-law-144", "gender:race", "--out", "o"], 3, "there is no group column 'gender'"),
    ],
    ids=["own folder", "junit", "columns", "gender"],
)
def test_tables_of_the_law_that_cannot_be_written_are_refused(call, folder, review, arguments, code, says):
    lawful(review, folder)
    got, out, err = call("report", folder, "--format", *arguments)
    assert (got, out) == (code, "") and says in err and not (folder.parent / "o").exists()


def test_without_evidence_there_is_nothing_to_count_the_tables_from(call, folder):
    code, _, err = call("report", folder, "--format", "json", "--local-law-144", "sex:race", "--out", "o")
    assert code == 3 and "no evidence.parquet beside the review" in err


# Card


def test_the_card_and_its_eval_results(call, folder):
    code, out, _ = call("card", folder, "--dataset", "owner/name", "--task", "test", "--revision", "abc")
    assert code == 0
    entries = huggingface_hub.parse_eval_result_entries(
        yaml.safe_load((folder / "eval_results.yaml").read_text(encoding="utf-8"))
    )
    assert len(entries) == 3 and entries[0].dataset_id == "owner/name" and entries[0].task_id == "test"
    assert ".eval_results" in out.splitlines()[-1]
    assert (folder / "card.md").read_text(encoding="utf-8").startswith("---\ntags:\n")


def test_the_card_alone(call, folder):
    code, out, _ = call("card", folder / "review.json", "--out", "to/README.md", "--json", "--no-text")
    assert code == 0
    assert json.loads(out) == [os.path.join("to", "README.md")]
    assert os.listdir("to") == ["README.md"]


# Refusals


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["report", "review", "--format", "pfd"], 2, "--format pfd: did you mean 'pdf'?"),
        (["report", "review", "--format", ","], 2, "--format names none of html"),
        (["report", "review", "--format", "html"], 3, "exists. Name another place with --out"),
        (["report", "review", "--format", "md", "--no-text"], 2, "--no-text needs another folder"),
        (["report", "review", "--format", "md", "--no-text", "--out", "./review"], 2, "needs another folder"),
        (["report", "review", "--format", "junit", "--open"], 2, "--open shows a page or a PDF"),
        (["report", "review", "--format", "md", "--out", "file"], 2, "is a file; a folder is expected"),
        (["report", "absent", "--format", "md"], 3, "Name the folder that `clinometer review` wrote"),
        (["report", "review", "--format", "md", "--out", "file/deeper"], 3, "cannot be made"),
        (["card", "review", "--dataset", "name"], 2, "--dataset name: a data set's id on the Hub"),
        (["card", "absent"], 3, "Name the folder"),
        (["card", "review", "--out", "file"], 3, "file exists"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_order_is_refused_and_nothing_is_written(call, folder, tmp_path, arguments, code, says):
    (tmp_path / "file").write_text("kept")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    got, out, err = call(*arguments)
    assert (got, out) == (code, "")
    assert says in err and err.count("\n") == 1
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_without_a_printer_both_ways_out_are_named_before_anything_is_read(call, folder, monkeypatch):
    monkeypatch.setattr(pdf_files, "browser", lambda: None)
    monkeypatch.setattr(pdf_files, "find_spec", lambda name: None)
    monkeypatch.setattr("clinometer.saved_reviews.read_review", None)
    code, _, err = call("report", folder)
    assert code == 3
    assert "Chromium, Chrome or Edge" in err and 'pip install "clinometer[pdf]"' in err


# Printing


def a_browser(tmp_path, monkeypatch, script):
    """A program called chromium that does this."""
    program = tmp_path / "bin" / "chromium"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


TARGET = "target = next(a for a in sys.argv if a.startswith('--print-to-pdf=')).partition('=')[2]\n"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("print('no display', file=sys.stderr); sys.exit(3)", "exit code 3\\): no display"),
        ("", "it said nothing"),
        (TARGET + "open(target, 'wb').write(b'%PDF-1.4 half')", "no whole PDF"),
        ("time.sleep(60)", "did not print the page within 0.5 s"),
    ],
    ids=["fails", "writes nothing", "half", "hangs"],
)
def test_a_printing_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch, script, says):
    if os.name == "nt":
        pytest.skip("the stand-in for a browser is a script with a first line that Windows does not read")
    a_browser(tmp_path, monkeypatch, script)
    monkeypatch.setattr(pdf_files, "SECONDS", 0.5 if "sleep" in script else 60)
    target = tmp_path / "report.pdf"
    target.write_text("kept")
    with pytest.raises(OutputError, match=says):
        save_pdf("<p>", target)
    assert target.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "report.pdf"]


def test_weasyprint_prints_where_there_is_no_browser(tmp_path, monkeypatch):
    calls = []

    class HTML:
        def __init__(self, **given):
            calls.append(given)

        def write_pdf(self, target, **given):
            calls.append(given)
            target.write_bytes(b"%PDF-1.7\n%%EOF")

    fetched = types.SimpleNamespace(URLFetcher=lambda allowed_protocols: allowed_protocols)
    stand_in = types.SimpleNamespace(HTML=HTML, CSS=lambda string: string, urls=fetched)
    monkeypatch.setitem(sys.modules, "weasyprint", stand_in)
    monkeypatch.setattr(pdf_files, "browser", lambda: None)
    monkeypatch.setattr(pdf_files, "find_spec", lambda name: name)
    assert save_pdf("<p>", tmp_path / "a.pdf") == "weasyprint"
    assert calls[0] == {"string": "<p>", "url_fetcher": {"data"}}, "nothing from outside is fetched"
    assert calls[1]["pdf_variant"] == "pdf/ua-1", "tagged"


def test_weasyprint_of_before_is_given_a_function_that_refuses_the_network():
    stand_in = types.SimpleNamespace(urls=types.SimpleNamespace(), default_url_fetcher=lambda url: url)
    fetch = pdf_files._pictures_in_the_page(stand_in)
    assert fetch("data:,x") == "data:,x"
    with pytest.raises(ValueError, match="nothing is fetched"):
        fetch("http://x.example")


def test_a_layout_that_weasyprint_stops_at_names_the_other_printer(tmp_path, monkeypatch):
    def broken(**_):
        raise AssertionError("grid")

    stand_in = types.SimpleNamespace(
        HTML=broken, CSS=str, urls=types.SimpleNamespace(), default_url_fetcher=None
    )
    monkeypatch.setitem(sys.modules, "weasyprint", stand_in)
    with pytest.raises(OutputError, match=r"AssertionError: grid\). Install Chromium"):
        save_pdf("<p>", tmp_path / "a.pdf", by="weasyprint")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on PATH")
@pytest.mark.browser
def test_chromium_prints_a_tagged_pdf(tmp_path, review):
    assert save_pdf(small_page(review), tmp_path / "report.pdf", by="chromium") == "chromium"
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert is_tagged(pdf)
    assert has_tag(pdf, "H1") and has_tag(pdf, "Table") and not has_tag(pdf, "Figure")


def test_negative_control_of_what_is_tagged():
    assert not is_tagged(b"%PDF-1.4\n1 0 obj << /Type /Catalog /MarkInfo << /Marked false >> >>\n%%EOF")
    assert not is_tagged(b"%PDF-1.4\n1 0 obj << /StructTreeRoot 2 0 R >>\n%%EOF")


def test_every_form_has_its_file():
    assert set(commands.NAMES) == {"html", "pdf", *commands._TEXTS}
