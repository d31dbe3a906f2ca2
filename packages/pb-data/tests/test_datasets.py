"""The registry: names, files and their checksums, recipes, published layouts, installed plug-ins."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pooch
import pytest
from anndata import AnnData, read_h5ad
from pb_data import (
    DATASETS,
    DataFileError,
    Dataset,
    Keys,
    SchemaError,
    card,
    contexts,
    dataset_names,
    get_dataset,
    load,
    load_h5ad,
    load_source,
    make_split,
    write_h5ad,
)
from pb_data.datasets.files import cache_folder, locate
from pb_data.datasets.published import LIVER_CELL_TYPES
from pb_data.named import check_option
from scipy import sparse

ON_FILE = [name for name in DATASETS if not card(name).embedded]
IMMUNE = ("B Cells", "T Cells")


def counts(n_cells: int, n_genes: int, seed: int = 0) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.random.default_rng(seed).poisson(3.0, size=(n_cells, n_genes)).astype(np.float32))


def layout(name: str) -> AnnData:
    """Draw a small file with the obs columns of the published one."""
    if name.startswith("nault"):
        types = np.repeat([*LIVER_CELL_TYPES, *IMMUNE], 12)
        obs = pd.DataFrame({"celltype": types, "Dose": np.tile([0, 0, 0.01, 0.3, 30, 30], len(types) // 6)})
        poor = np.arange(len(types)) % 6 == 5
        X = counts(len(types), 800).multiply(~poor[:, None] | (np.arange(800) < 300))
        return AnnData(sparse.csr_matrix(X), obs=obs.set_index(obs.index.astype(str)))
    if name == "sciplex3":
        obs = pd.DataFrame({"cell_line": np.repeat(["A549", "K562", "MCF7"], 8)})
        obs["perturbation"] = ["control", "control", "Abexinostat", "Abexinostat", "SAHA", "SAHA", "SAHA", None] * 3
        obs["dose_value"] = [np.nan, 0.0, 10.0, 10000.0, 10.0, 100.0, 1000.0, np.nan] * 3
        return AnnData(counts(24, 30), obs=obs.set_index(obs.index.astype(str)))
    contexts, column, labels = {
        "pbmc-scgen": (["B", "CD14+Mono", "CD4T"], "cell_type", ["control", "stimulated"]),
        "cross-species": (["mouse", "pig", "rabbit", "rat"], "species", ["unst", "LPS6"]),
    }[name]
    obs = pd.DataFrame({column: np.repeat(contexts, 10), "condition": np.tile(labels, 5 * len(contexts))})
    return AnnData(np.log1p(counts(len(obs), 20)), obs=obs.set_index(obs.index.astype(str)))


@pytest.fixture
def published(tmp_path: Path) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        path = tmp_path / f"{name}.h5ad"
        layout(name).write_h5ad(path)
        return path

    return write


def test_names() -> None:
    published = ["pbmc-scgen", "nault", "nault-liver", "cross-species", "sciplex3"]
    assert dataset_names() == ["pbmc", "norman", "mcfaline", *published]


@pytest.mark.parametrize("name", dataset_names())
def test_every_card_says_what_it_must(name: str) -> None:
    known = card(name)
    assert known.name == name
    assert all([known.title, known.citation, known.licence, known.origin, known.contexts])
    assert (known.sha256 is not None) if known.embedded else known.file_name


def test_misspelt_names_and_options() -> None:
    with pytest.raises(ValueError, match=r"no data set 'pmbc'; did you mean 'pbmc'.*choose from: pbmc, norman"):
        load("pmbc")
    with pytest.raises(ValueError, match=r"'pbmc' has no option 'singlet'; did you mean 'singlets'.*megakaryocytes"):
        load("pbmc", singlet=True)
    with pytest.raises(ValueError, match=r"'cross-species' has no option 'x' \(it has none\)"):
        load("cross-species", path=__file__, x=1)


@pytest.mark.parametrize(
    ("name", "option", "value", "wanted"),
    [
        ("pbmc", "singlets", "no", "true or false"),
        ("pbmc", "megakaryocytes", 1, "true or false"),
        ("nault", "min_counts", True, "a whole number"),
        ("nault", "min_genes", "720", "a whole number"),
        ("nault", "min_genes", 720.5, "a whole number"),
    ],
)
def test_options_of_another_kind_are_refused(name: str, option: str, value: object, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"^option {option} of '{name}' is {value!r}; write {wanted}$"):
        load(name, path=None if name == "pbmc" else __file__, **{option: value})


@pytest.mark.parametrize(
    ("default", "taken", "refused"),
    [(0.5, [2, 1.5], [False, "1"]), ("x", ["", "y"], [1, None]), (None, [1, "a", None, True], [])],
)
def test_an_options_kind_is_its_defaults(default: object, taken: list[object], refused: list[object]) -> None:
    for value in taken:
        check_option("toy", "x", value, default)
    for value in refused:
        with pytest.raises(ValueError, match=f"option x of 'toy' is {value!r}; write a "):
            check_option("toy", "x", value, default)


@pytest.mark.parametrize("name", [name for name in ON_FILE if card(name).url is None])
def test_a_set_without_address_says_which_file_and_how(name: str) -> None:
    with pytest.raises(DataFileError, match=r"needs the file \S+\.h5ad .*--data FILE, or load\(.*path=FILE\)"):
        load(name)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.h5ad; check the path"):
        load("nault", path=tmp_path / "gone.h5ad")
    with pytest.raises(ValueError, match=r"'pbmc' is embedded and takes no file; leave the path \(--data\) out, or"):
        load("pbmc", path=tmp_path / "gone.h5ad")


@pytest.mark.parametrize("name", ON_FILE)
def test_published_layouts_load_and_split(name: str, published: Callable[[str], Path]) -> None:
    path = published(name)
    data = load(name, path=path)
    assert data.keys == card(name).keys
    assert data.source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert data.source["path"] == str(path)
    assert not data.adata.is_view
    for context in contexts(data):
        split = make_split("leave-context-out", data, held_out=context)
        assert split.truth.size + split.train.size + split.validation.size == data.adata.n_obs


def test_nault_drops_poor_cells_and_labels_doses(published: Callable[[str], Path]) -> None:
    path = published("nault")
    everything = load("nault", path=path, min_counts=0, min_genes=0).adata
    assert everything.obs.groupby("perturbation", observed=True)["Dose"].unique().map(sorted).to_dict() == {
        "TCDD": [0.01, 0.3, 30.0],
        "control": [0.0],
    }
    expressed = (everything.X.toarray() > 0).sum(axis=1)
    default = load("nault", path=path)
    assert default.source["options"] == {"min_counts": 500, "min_genes": 720}
    assert default.adata.obs_names.tolist() == everything.obs_names[expressed >= 720].tolist()
    assert (everything.n_obs, default.adata.n_obs) == (96, 80)


@pytest.mark.parametrize("kind", ["text", "category"])
def test_nault_doses_may_be_text(tmp_path: Path, kind: str) -> None:
    cells = layout("nault")
    cells.obs["Dose"] = cells.obs["Dose"].astype(str).astype("category" if kind == "category" else object)
    cells.write_h5ad(tmp_path / "x.h5ad")
    assert sorted(load("nault", path=tmp_path / "x.h5ad").adata.obs["Dose"].unique()) == [0, 0.01, 0.3, 30]


def test_nault_liver_is_cut_to_its_six_types_first(published: Callable[[str], Path]) -> None:
    data = load("nault-liver", path=published("nault"))
    assert sorted(set(data.adata.obs["celltype"])) == sorted(LIVER_CELL_TYPES) == contexts(data)
    assert data.adata.n_obs == 72


def test_a_wrong_file_is_answered_with_what_it_lacks(published: Callable[[str], Path]) -> None:
    with pytest.raises(DataFileError, match="no obs column 'Dose'"):
        load("nault", path=published("cross-species"))
    with pytest.raises(DataFileError, match="no obs column 'cell_line'"):
        load("sciplex3", path=published("cross-species"))
    cells = layout("nault")
    cells.obs["Dose"] = "high"
    high = published("nault")
    cells.write_h5ad(high)
    with pytest.raises(DataFileError, match=r"'Dose' holds more than numbers \(.*high.*\); is it the right file"):
        load("nault", path=high)
    with pytest.raises(SchemaError, match="no context column 'species'"):
        load("cross-species", path=published("pbmc-scgen"))


def test_sciplex3_controls_take_dose_zero_and_unlabelled_cells_go(published: Callable[[str], Path]) -> None:
    path = published("sciplex3")
    data = load("sciplex3", path=path)
    assert data.adata.n_obs == 21
    control = data.keys.is_control(data.adata.obs)
    assert (data.adata.obs["dose_value"][control] == 0).all()
    assert control.sum() == 6
    with pytest.raises(SchemaError, match="3 of 24 cells have no value in perturbation column"):
        load("sciplex3", path=path, labelled=False)


def test_a_stated_checksum_is_held(published: Callable[[str], Path]) -> None:
    path = published("nault")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert locate(replace(card("nault"), sha256=right), path) == path
    with pytest.raises(DataFileError, match=f"is not the file of data set 'nault': its sha256 is {right}, expected 00"):
        locate(replace(card("nault"), sha256="00"), path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_set_with_an_address_is_fetched_once(
    published: Callable[[str], Path], server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pb_data.datasets.files.cache_folder", lambda: tmp_path / "cache")
    path = published("sciplex3")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    known = replace(card("sciplex3"), url=f"{server}/sciplex3.h5ad", sha256=right)
    fetched = locate(known, None)
    assert fetched is not None
    assert fetched == tmp_path / "cache" / "SrivatsanTrapnell2020_sciplex3.h5ad"
    assert fetched.read_bytes() == path.read_bytes()
    path.unlink()
    assert locate(known, None) == fetched  # from the cache: the address is gone
    published("sciplex3")
    with pytest.raises(DataFileError, match="hash"):
        locate(replace(known, sha256="00", file_name="other.h5ad"), None)


@pytest.mark.parametrize(("terminal", "tqdm", "bar"), [(True, True, True), (True, False, False), (False, True, False)])
def test_progress_is_shown_on_a_terminal_only(
    published: Callable[[str], Path],
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    terminal: bool,
    tqdm: bool,
    bar: bool,
) -> None:
    seen, retrieve = [], pooch.retrieve

    def watch(*arguments: object, progressbar: bool, **options: object) -> str:
        seen.append(progressbar)
        return retrieve(*arguments, progressbar=False, **options)

    monkeypatch.setattr("pooch.retrieve", watch)
    monkeypatch.setattr("pb_data.datasets.files.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("pb_data.datasets.files.find_spec", lambda _: object() if tqdm else None)
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: terminal))
    known = replace(card("sciplex3"), url=f"{server}/{published('sciplex3').name}")
    fetched = locate(known, None)
    monkeypatch.undo()
    assert fetched is not None
    assert fetched.is_file()
    assert seen == [bar]
    assert caplog.text == ""


@pytest.mark.parametrize("name", [name for name in ON_FILE if card(name).url and not card(name).sha256])
def test_a_card_says_that_what_is_fetched_is_not_checked(name: str) -> None:
    assert "not checked" in card(name).note


def test_the_cache_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert cache_folder() == tmp_path / "pb" / "datasets"


@pytest.mark.parametrize("name", dataset_names())
def test_recipes_rebuild_the_data(name: str, published: Callable[[str], Path]) -> None:
    options = {"pbmc": {"singlets": False}, "nault": {"min_genes": 0}}.get(name, {})
    data = load(name, path=published(name) if name in ON_FILE else None, **options)
    again = load_source(json.loads(json.dumps(data.source)))
    assert again.source == data.source
    assert again.keys == data.keys
    assert again.adata.obs.equals(data.adata.obs)
    assert (again.adata.X != data.adata.X).nnz == 0


def test_files_that_are_none_are_answered_in_a_sentence(
    published: Callable[[str], Path], keys: Keys, tmp_path: Path
) -> None:
    whole = published("nault").read_bytes()
    (tmp_path / "text.h5ad").write_text("cells")
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["table"] = [1, 2]
    for name in ("text", "cut", "other"):
        with pytest.raises(DataFileError, match=rf"{name}\.h5ad cannot be read as \.h5ad"):
            load_h5ad(tmp_path / f"{name}.h5ad", keys)
        with pytest.raises(DataFileError, match=rf"{name}\.h5ad cannot be read as \.h5ad"):
            load("nault", path=tmp_path / f"{name}.h5ad")


def test_a_changed_file_is_refused(published: Callable[[str], Path]) -> None:
    path = published("nault")
    source = load("nault", path=path).source
    changed = layout("nault")
    changed.X = changed.X * 2
    changed.write_h5ad(path)
    with pytest.raises(DataFileError, match="has changed: its sha256 is"):
        load_source(source)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"^the data file {path} is gone; say where it lies now \(--data\)$"):
        load_source(source)


def test_another_version_of_embedded_data_is_refused() -> None:
    source = {**load("pbmc").source, "sha256": "0" * 64}
    with pytest.raises(ValueError, match="install the version that wrote the recipe"):
        load_source(source)


def test_ones_own_file(make_cells: Callable[..., AnnData], keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "mine.h5ad"
    make_cells().write_h5ad(path)
    data = load_h5ad(path, keys)
    assert (data.name, data.source["dataset"]) == ("mine", "file")
    again = load_source(json.loads(json.dumps(data.source)))
    assert again.source == data.source
    with pytest.raises(SchemaError, match="no context column 'type'"):
        load_h5ad(path, replace(keys, context="type"))
    assert load_h5ad(path, replace(keys, context="type"), checked=False).adata.n_obs == 99
    with pytest.raises(DataFileError, match=r"does not say what its columns mean; .*--context-key"):
        load_h5ad(path)


@pytest.mark.parametrize("text", ["{", '{"context": "cell_type"}', '{"colour": "red"}'])
def test_damaged_keys_in_a_file_are_the_files_fault(
    make_cells: Callable[..., AnnData], tmp_path: Path, text: str
) -> None:
    cells = make_cells()
    cells.uns["pb_keys"] = text
    cells.write_h5ad(tmp_path / "mine.h5ad")
    with pytest.raises(
        DataFileError, match=r"mine\.h5ad holds no usable keys in uns\['pb_keys'\]: .*; name the columns"
    ):
        load_h5ad(tmp_path / "mine.h5ad")


def test_ones_own_file_never_takes_a_data_sets_name(
    make_cells: Callable[..., AnnData], keys: Keys, tmp_path: Path
) -> None:
    write_h5ad(tmp_path / "pbmc.h5ad", make_cells(), keys)
    data = load_h5ad(tmp_path / "pbmc.h5ad")
    assert data.name == data.source["name"] == "pbmc.h5ad"
    assert load_source(json.loads(json.dumps(data.source))).name == "pbmc.h5ad"
    (tmp_path / "pbmc.h5ad").rename(tmp_path / "pbmc")
    assert load_h5ad(tmp_path / "pbmc").name == "pbmc.h5ad"


def test_a_written_file_carries_its_keys(make_cells: Callable[..., AnnData], keys: Keys, tmp_path: Path) -> None:
    cells = make_cells()
    write_h5ad(tmp_path / "mine.h5ad", cells[:50], keys)
    data = load_h5ad(tmp_path / "mine.h5ad")
    assert data.keys == keys
    np.testing.assert_array_equal(data.adata.X.toarray(), cells.X[:50].toarray())
    assert list(cells.uns) == []
    cells.X.data[0] = np.nan
    with pytest.raises(SchemaError, match="NaN"):
        write_h5ad(tmp_path / "bad.h5ad", cells, keys)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.h5ad"]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    make_cells: Callable[..., AnnData], keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").write_text("cells")
    for folder in ("gone", "text"):
        with pytest.raises(
            FileNotFoundError, match=rf"there is no folder {tmp_path / folder}; make it, or name another$"
        ):
            write_h5ad(tmp_path / folder / "mine.h5ad", make_cells(), keys)
    (tmp_path / "taken.h5ad").mkdir()
    with pytest.raises(OSError, match=r"taken\.h5ad cannot be written \(.*directory\); free or unlock"):
        write_h5ad(tmp_path / "taken.h5ad", make_cells(), keys)

    def refuse(_cells: AnnData, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(AnnData, "write_h5ad", refuse)
    with pytest.raises(OSError, match=r"mine\.h5ad cannot be written \(Permission denied\); free or unlock"):
        write_h5ad(tmp_path / "mine.h5ad", make_cells(), keys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.h5ad", "text"]


def test_an_installed_plug_in_adds_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "tiny_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pb.datasets]\ntiny = tiny_plugin:TINY\n")
    layout("cross-species").write_h5ad(tmp_path / "tiny.h5ad")
    (tmp_path / "tiny_plugin.py").write_text(
        "from dataclasses import replace\n"
        "import anndata\n"
        "from pb_data import Dataset, card\n"
        "TINY = Dataset(replace(card('cross-species'), name='tiny'), anndata.read_h5ad)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert dataset_names()[-1] == "tiny"
    assert isinstance(get_dataset("tiny"), Dataset)
    assert load("tiny", path=tmp_path / "tiny.h5ad").adata.n_obs == read_h5ad(tmp_path / "tiny.h5ad").n_obs
    (info / "entry_points.txt").write_text("[pb.datasets]\npbmc = tiny_plugin:TINY\n")
    with pytest.raises(ValueError, match=r"entry point 'pbmc' \(tiny_plugin:TINY\) takes the name of pb_data"):
        dataset_names()


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked.h5ad").touch()
    monkeypatch.setattr("pb_data.datasets.files.os.access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"locked\.h5ad may not be read"):
        load_h5ad(tmp_path / "locked.h5ad")
