"""The pages made from the code are those that the code makes now, and lead to a card of every model."""

import importlib.util

import pytest


@pytest.fixture(scope="module")
def script(root):
    def load(name):
        spec = importlib.util.spec_from_file_location(name, root / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="module")
def pages(script):
    return script("reference").pages()


def test_pages_are_up_to_date(root, pages):
    stale = [name for name, text in pages.items() if (root / "docs" / name).read_text() != text]
    assert stale == [], "run: python scripts/reference.py"


def test_no_page_is_left_of_what_is_gone(root, pages):
    found = {
        path.relative_to(root / "docs").as_posix()
        for name in ("reference", "data")
        for path in (root / "docs" / name).iterdir()
    }
    assert found == set(pages)


def test_every_verb_and_entry_is_on_its_page(pages):
    from pb_cli.app import app
    from pb_eval import METRICS
    from pb_losses import LOSSES
    from pb_models import MODELS

    for verb in app.commands:
        assert f"\n## pb {verb}\n" in pages["reference/cli.md"]
    for page, names in (("metrics", METRICS), ("losses", LOSSES), ("models", MODELS)):
        assert [name for name in names if f"`{name}`" not in pages[f"reference/{page}.md"]] == []


def test_every_model_has_a_card(root):
    from pb_models import MODELS

    cards = "\n".join(path.read_text() for path in (root / "docs" / "models").glob("*.md"))
    assert [name for name in MODELS if name not in cards] == []


def test_cards_show_what_the_committed_tables_say(root, script):
    cards = script("measured").cards()
    stale = [name for name, text in cards.items() if (root / "docs" / "models" / f"{name}.md").read_text() != text]
    assert stale == [], "run: python scripts/measured.py"


def test_every_model_is_measured_in_its_card(script):
    from pb_models import MODELS

    assert {name for tables in script("measured").TABLES.values() for table in tables for name in table.models} == set(
        MODELS
    )
