"""A wheel can only hold a real copy of LICENSE, so each package has one, and the copies are one text."""


def test_licence_copies_are_equal(root, package):
    assert (root / "packages" / package / "LICENSE").read_bytes() == (root / "LICENSE").read_bytes()
    assert not (root / "packages" / package / "LICENSE").is_symlink()


def test_licence_is_the_declared_one(root, project):
    assert project["license"] == "MIT"
    assert project["license-files"] == ["LICENSE"]
    assert (root / "LICENSE").read_text().startswith("MIT License\n")
