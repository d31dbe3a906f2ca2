"""Issue templates are forms that the hosting understands: named, described, every question with an id of its own."""

import pytest
import yaml

KINDS = {"input", "textarea", "dropdown", "checkboxes", "markdown"}


@pytest.mark.parametrize("name", ["bug", "model", "metric"])
def test_template_is_a_valid_form(root, name):
    form = yaml.safe_load((root / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= form.keys()
    questions = form["body"]
    assert {question["type"] for question in questions} <= KINDS
    identities = [question["id"] for question in questions]
    assert len(set(identities)) == len(identities)
    assert all(question["attributes"]["label"] for question in questions)
    assert any(question.get("validations", {}).get("required") for question in questions)
    assert all(question["attributes"]["options"] for question in questions if question["type"] == "dropdown")
