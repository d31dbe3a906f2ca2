import json
from dataclasses import dataclass

import numpy as np
import pytest
from anndata import AnnData
from pb_data.keys import Keys
from pb_models import checkpoint
from pb_models.base import Model, NotFittedError
from pb_models.cells import TrainingData, expression
from pb_models.checkpoint import read_checkpoint, read_description, write_checkpoint
from pb_models.settings import Settings
from scipy import sparse


@dataclass(frozen=True, kw_only=True)
class Scale(Settings):
    factor: float = 1.0


class Shifted(Model):
    """Adds the training mean; as small as a model can be."""

    name = "shifted"
    summary = "Adds the training mean."
    profiles = {"default": Scale(), "double": Scale(factor=2.0)}  # noqa: RUF012 - the protocol's class attribute

    def _fit(self, data, *, seed, device, progress):
        self.mean = data.mean(np.arange(len(data.control)))
        return {"noted": data.perturbation_names}

    def _predict(self, query):
        X = query.X.toarray() if sparse.issparse(query.X) else query.X
        return X + self.settings.factor * self.mean

    def _state(self):
        return {"mean": self.mean}

    def _restore(self, state):
        self.mean = state["mean"]


class ManyDoses(Shifted):
    name = "many-doses"
    multi_dose = True


def test_prediction_keeps_cells_and_genes(problem):
    model = Shifted().fit(problem.train, keys=problem.keys)
    predicted = model.predict(problem.control, perturbation="stim")
    expected = problem.control.X.toarray() + problem.train.X.toarray().mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(predicted.X, expected, rtol=1e-6)
    assert predicted.X.dtype == np.float32
    assert list(predicted.obs_names) == list(problem.control.obs_names)
    assert list(predicted.var_names) == model.genes
    assert set(predicted.obs["condition"]) == {"stim"}
    assert set(problem.control.obs["condition"]) == {"ctrl"}, "the input is left as it was"
    assert model.fit_record["noted"] == ["stim"]


@pytest.mark.parametrize("form", ["dense", "csc", "view", "float64"])
def test_the_form_of_the_matrix_does_not_matter(problem, form):
    train = problem.train.copy()
    if form == "view":
        train = train[np.arange(train.n_obs)]
    else:
        train.X = {"dense": train.X.toarray(), "csc": train.X.tocsc(), "float64": train.X.astype(float)}[form]
    expected = Shifted().fit(problem.train, keys=problem.keys).predict(problem.control, perturbation="stim")
    predicted = Shifted().fit(train, keys=problem.keys).predict(problem.control, perturbation="stim")
    np.testing.assert_array_equal(predicted.X, expected.X)


def test_backed_training_cells_are_read(problem, tmp_path):
    from anndata import read_h5ad

    problem.train.write_h5ad(tmp_path / "train.h5ad")
    backed = read_h5ad(tmp_path / "train.h5ad", backed="r")
    np.testing.assert_array_equal(expression(backed).toarray(), problem.train.X.toarray())
    backed.file.close()


def test_unfitted_models_say_so(problem, tmp_path):
    with pytest.raises(NotFittedError, match="call fit"):
        Shifted().predict(problem.control, perturbation="stim")
    with pytest.raises(NotFittedError):
        Shifted().save(tmp_path / "model")


def test_a_failed_fit_leaves_no_fitted_model(problem):
    class Failing(Shifted):
        def _fit(self, data, *, seed, device, progress):
            raise RuntimeError

    model = Failing()
    with pytest.raises(RuntimeError):
        model.fit(problem.train, keys=problem.keys)
    with pytest.raises(NotFittedError):
        model.predict(problem.control, perturbation="stim")


def test_genes_are_checked(problem):
    model = Shifted().fit(problem.train, keys=problem.keys)
    with pytest.raises(ValueError, match=r"2 of the 30 genes .* are missing .first: gene28, gene29"):
        model.predict(problem.control[:, :28], perturbation="stim")
    with pytest.raises(ValueError, match=r"in another order; pass control\[:, model.genes\]"):
        model.predict(problem.control[:, ::-1], perturbation="stim")
    model.predict(problem.control[:, ::-1][:, model.genes], perturbation="stim")


def test_what_is_predicted_from_are_control_cells(problem):
    model = Shifted().fit(problem.train, keys=problem.keys)
    with pytest.raises(ValueError, match="45 of 45 cells are not labelled 'ctrl'"):
        model.predict(problem.truth, perturbation="stim")
    with pytest.raises(ValueError, match="no control cell"):
        model.predict(problem.control[:0], perturbation="stim")
    with pytest.raises(ValueError, match="not seen the perturbation 'stmi'; did you mean 'stim'"):
        model.predict(problem.control, perturbation="stmi")


def test_unusable_training_cells_are_refused(problem, keys):
    with pytest.raises(ValueError, match="no column 'donor'"):
        Shifted().fit(problem.train, keys=Keys("donor", "condition", "ctrl", "log1p"))
    with pytest.raises(ValueError, match="none of the 40 training cells is perturbed"):
        Shifted().fit(problem.control, keys=keys)
    with pytest.raises(ValueError, match="none of the 45 training cells is control"):
        Shifted().fit(problem.truth, keys=keys)
    with pytest.raises(ValueError, match="bool mask of 235 cells"):
        Shifted().fit(problem.train, keys=keys, validation=np.zeros(3, dtype=bool))
    twice = problem.train.copy()
    twice.var_names = ["gene0", *twice.var_names[:-1]]
    with pytest.raises(ValueError, match=r"1 gene names occur more than once .first: gene0"):
        Shifted().fit(twice, keys=keys)


@pytest.mark.parametrize("dense", [False, True])
def test_cells_that_are_not_finite_are_counted_and_named(problem, dense):
    X = problem.train.X.toarray()
    X[3, 0], X[3, 4], X[8, 2] = np.nan, np.inf, np.nan
    train = problem.train.copy()
    train.X = X if dense else sparse.csr_matrix(X)
    with pytest.raises(ValueError, match=r"in 2 of 235 cells .first: cell3, cell8"):
        Shifted().fit(train, keys=problem.keys)


def test_contexts_are_paired(cells, keys):
    adata = cells({"A": (5, 4), "B": (6, 0), "C": (0, 3)})
    data = TrainingData.from_anndata(adata, keys)
    with pytest.warns(UserWarning, match="no control cells in C"):
        assert data.paired_contexts("stim") == ["A"]
    assert len(data.rows("A")) == 5
    assert len(data.rows("A", "stim")) == 4
    with pytest.warns(UserWarning, match="no control"), pytest.raises(ValueError, match="no context has both"):
        TrainingData.from_anndata(adata[adata.obs["cell_type"] != "A"], keys).paired_contexts("stim")


def with_doses(adata: AnnData, doses: list[float]) -> AnnData:
    adata = adata.copy()
    stimulated = (adata.obs["condition"] == "stim").to_numpy()
    values = np.zeros(adata.n_obs)
    values[stimulated] = np.resize(doses, stimulated.sum())
    adata.obs["dose"] = values
    return adata


def test_doses(problem):
    keys = Keys("cell_type", "condition", "ctrl", "log1p", dose="dose")
    one, two = with_doses(problem.train, [3.0]), with_doses(problem.train, [1.0, 10.0])
    control = with_doses(problem.control, [0.0])
    model = Shifted().fit(one, keys=keys)
    assert set(model.predict(control, perturbation="stim").obs["dose"]) == {3.0}
    with pytest.raises(ValueError, match=r"fitted on dose 3.0 of 'stim' and cannot predict dose 10"):
        model.predict(control, perturbation="stim", dose=10)
    with pytest.raises(ValueError, match=r"obs\['dose'\] has no number for 52 perturbed cells"):
        ManyDoses().fit(with_doses(problem.train, [1.0, np.nan, 3.0, np.nan]), keys=keys)
    with pytest.raises(ValueError, match="learns one dose at a time"):
        Shifted().fit(two, keys=keys)
    many = ManyDoses().fit(two, keys=keys)
    assert set(many.predict(control, perturbation="stim", dose=2).obs["dose"]) == {2.0}
    with pytest.raises(ValueError, match=r"seen at the doses \[1.0, 10.0\]"):
        many.predict(control, perturbation="stim")


def test_saved_and_loaded(problem, tmp_path):
    model = Shifted(profile="double").fit(problem.train, keys=problem.keys, seed=7)
    model.save(tmp_path / "model")
    loaded = Shifted.load(tmp_path / "model")
    for name in ("profile", "settings", "genes", "doses", "seed", "fit_record", "keys", "n_parameters"):
        assert getattr(loaded, name) == getattr(model, name)
    expected = model.predict(problem.control, perturbation="stim").X
    np.testing.assert_array_equal(loaded.predict(problem.control, perturbation="stim").X, expected)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "weights.safetensors"]
    assert read_description(tmp_path / "model")["versions"]["numpy"] == np.__version__
    with pytest.raises(ValueError, match="holds a 'shifted' model, not 'many-doses'"):
        ManyDoses.load(tmp_path / "model")


def test_an_older_checkpoint_is_replaced_and_nothing_else(tmp_path):
    write_checkpoint(tmp_path / "model", {"model": "a"}, {"x": np.zeros(2)})
    write_checkpoint(tmp_path / "model", {"model": "b"}, {"x": np.ones(3)})
    found = read_checkpoint(tmp_path / "model")
    assert found.description["model"] == "b"
    np.testing.assert_array_equal(found.arrays["x"], np.ones(3))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(ValueError, match="is no model folder"):
        write_checkpoint(tmp_path / "photos", {}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "photos"], "no scratch is left behind"


def test_a_failed_write_leaves_the_older_checkpoint(tmp_path):
    write_checkpoint(tmp_path / "model", {"model": "a"}, {"x": np.zeros(2)})
    with pytest.raises(ValueError):
        write_checkpoint(tmp_path / "model", {"model": np.nan}, {"x": np.ones(2)})
    assert read_checkpoint(tmp_path / "model").description["model"] == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_damaged_checkpoints_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no model"):
        read_checkpoint(tmp_path / "nowhere")
    folder = tmp_path / "model"
    write_checkpoint(folder, {"model": "a"}, {"x": np.zeros(2)})
    weights = folder / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="do not belong together"):
        read_checkpoint(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="is missing beside"):
        read_checkpoint(folder)
    description = json.loads((folder / checkpoint.DESCRIPTION).read_text())
    (folder / checkpoint.DESCRIPTION).write_text(json.dumps({**description, "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        read_description(folder)
