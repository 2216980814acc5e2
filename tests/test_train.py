"""Training: the compiled way is plain torch number for number, and chance is keyed."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from numba import njit  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from rulerlab.cli import main  # noqa: E402
from rulerlab.errors import InputError, UsageError  # noqa: E402
from rulerlab.network import chance, saved  # noqa: E402
from rulerlab.network.data import DataSet, digits, gaussian_mixture  # noqa: E402
from rulerlab.network.kernel import epochs_by_kernel  # noqa: E402
from rulerlab.network.mlp import build, layer_features  # noqa: E402
from rulerlab.network.recipe import Recipe  # noqa: E402
from rulerlab.network.reference import epochs_by_torch  # noqa: E402
from rulerlab.network.steps import batch_ends, epoch_order, finished  # noqa: E402
from rulerlab.network.train import method_for, train  # noqa: E402

SMALL = Recipe(seed=5, width=24, depth=4, epochs=5)
RECIPES = {
    "plain": {},
    "leaky, dropout": {"alpha": 0.3, "dropout": 0.2},
    "mini-batches, noise": {"batch": 64, "input_noise": 0.4, "label_noise": 0.5, "alpha": 0.6},
    "mean square, momentum": {"loss": "mse", "optimizer": "sgd", "momentum": 0.9, "batch": 50},
    "no BatchNorm": {"batch_norm": False, "dropout": 0.1, "weight_decay": 1e-2},
    "one layer": {"depth": 1, "batch": 90},
    "one layer, no BatchNorm": {"depth": 1, "batch_norm": False},
    "two layers, wide": {"depth": 2, "width": 130, "alpha": 1.0},
}


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks on several threads wait more than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return digits(samples=300)


def both_ways(recipe: Recipe, data: DataSet, kind: torch.dtype):
    """Losses and state of the same network after training by torch and by the kernel."""
    found = []
    for epochs in (epochs_by_torch, epochs_by_kernel):
        model = build(recipe, data.features.shape[1], data.classes).to(kind)
        losses = list(epochs(recipe, data, model))
        state = {name: part.detach().numpy() for name, part in model.state_dict().items()}
        found.append((np.array(losses), state))
    return found


def unfelt(recipe: Recipe, name: str) -> bool:
    """A bias in front of BatchNorm: torch moves it by rounding errors."""
    return recipe.batch_norm and name.startswith("hidden.") and name.endswith(".0.bias")


@pytest.mark.parametrize("case", RECIPES)
def test_a_step_of_the_kernel_is_a_step_of_torch_in_double_precision(case, data):
    # one epoch of descent at rate 1: what the weights move by is the slope of the loss
    recipe = replace(SMALL, **{"optimizer": "sgd"} | RECIPES[case], epochs=1, learning_rate=1.0)
    if recipe.batch:
        recipe = replace(recipe, batch=len(data.labels))
    (loss, state), (our_loss, our_state) = both_ways(recipe, data, torch.float64)
    assert_allclose(our_loss, loss, rtol=1e-12)
    for name, value in state.items():
        if not unfelt(recipe, name):
            assert_allclose(our_state[name], value, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("case", RECIPES)
def test_five_epochs_agree_with_torch_in_double_precision(case, data):
    recipe = replace(SMALL, **RECIPES[case])
    (loss, state), (our_loss, our_state) = both_ways(recipe, data, torch.float64)
    assert_allclose(our_loss, loss, rtol=1e-9)
    for name, value in state.items():
        # Adam turns torch's rounding errors in biases without a slope into steps of 1e-10
        if not unfelt(recipe, name):
            assert_allclose(our_state[name], value, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("case", RECIPES)
def test_the_first_five_losses_agree_with_torch_in_single_precision(case, data):
    recipe = replace(SMALL, **RECIPES[case])
    (loss, _), (our_loss, _) = both_ways(recipe, data, torch.float32)
    assert_allclose(our_loss, loss, atol=2e-4)


def test_single_precision_slopes_are_as_good_as_those_of_torch(data):
    recipe = replace(SMALL, optimizer="sgd", learning_rate=1.0, epochs=1, depth=8)
    (_, exact), _ = both_ways(recipe, data, torch.float64)
    (_, theirs), (_, ours) = both_ways(recipe, data, torch.float32)
    felt = [name for name in exact if name.endswith("weight")]
    error = [max(np.abs(state[name] - exact[name]).max() for name in felt)
             for state in (theirs, ours)]  # fmt: skip
    assert error[1] < max(3 * error[0], 1e-6)


def test_a_network_does_not_feel_what_is_trained_beside_it(data):
    recipe = replace(SMALL, dropout=0.1, batch=100)
    others = [replace(recipe, seed=9, alpha=1.0), replace(recipe, batch=None, width=40)]
    (alone,) = train([recipe], data, threads=1)
    _, beside, _ = train([others[0], recipe, others[1]], data, threads=3)
    assert_array_equal(alone.losses, beside.losses)
    assert alone.accuracy == beside.accuracy
    for one, other in zip(alone.model.parameters(), beside.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_seeds_and_only_seeds_make_networks_differ(data):
    found = list(train([SMALL, SMALL, replace(SMALL, seed=6)], data))
    assert_array_equal(found[0].losses, found[1].losses)
    assert np.abs(found[0].losses - found[2].losses).min() > 1e-4


def test_networks_learn_the_digits():
    (net,) = train([Recipe(seed=1, width=64, epochs=40)], digits())
    assert net.accuracy > 94
    assert net.losses[-1] < 0.2 * net.losses[0]
    assert not net.model.training


def test_label_noise_keeps_the_loss_up(data):
    clean, noisy = train([SMALL, replace(SMALL, label_noise=0.9)], data)
    assert noisy.losses[-1] > clean.losses[-1] + 0.05


def test_a_network_of_convolutions_trains_behind_the_same_function():
    recipe = Recipe(seed=1, network="cnn", width=6, depth=3, epochs=6, learning_rate=0.02)
    data = digits(samples=200)
    (net,) = train([recipe], data)
    assert net.losses[-1] < 0.8 * net.losses[0]
    shapes = [stage.shape for stage in layer_features(net.model, data.features)]
    assert shapes == [(200, 64), (200, 6 * 16), (200, 6 * 16), (200, 10)]


def test_only_mlps_go_to_the_kernel():
    assert method_for(SMALL) == "kernel"
    assert method_for(replace(SMALL, network="cnn")) == "torch"
    assert method_for(SMALL, "torch") == "torch"
    with pytest.raises(UsageError, match="MLPs only"):
        method_for(replace(SMALL, network="cnn"), "kernel")
    with pytest.raises(UsageError, match="choose auto"):
        method_for(SMALL, "magic")


def test_closing_early_drops_the_rest(data):
    told = []
    nets = train([replace(SMALL, seed=s, epochs=3) for s in range(1, 9)], data, threads=2,
                 progress=told.append)  # fmt: skip
    next(nets)
    nets.close()
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]
    assert 0 < told[-1] <= 1


def test_progress_ends_at_the_whole(data):
    told = []
    list(train([replace(SMALL, stop=True, learning_rate=1e-12)], data, progress=told.append))
    assert told[-1] == 1 and told == sorted(told)


def test_training_leaves_the_threads_of_torch_as_they_were(data):
    before = torch.get_num_threads()
    list(train([SMALL], data))
    assert torch.get_num_threads() == before


def test_random_words_are_those_of_threefry():
    # known answer of the authors' library, 13 rounds, counter and key zero
    zero = np.uint32(0)
    words = njit(lambda x: chance.threefry(x, x, x, x))(zero)
    assert [int(word) for word in words] == [0x9D1C5EC6, 0x8BD50731]


def test_masks_and_kicks_have_their_law():
    kept = chance.kept(7, 2, 11, samples=501, units=100, dropout=0.3)
    assert kept.shape == (501, 100)
    assert abs(kept.mean() - 0.7) < 4 * (0.3 * 0.7 / kept.size) ** 0.5
    kick = chance.input_kick(7, 11, samples=501, features=100).astype(float)
    error = kick.size**-0.5
    assert abs(kick.mean()) < 4 * error and abs(kick.var() - 1) < 6 * error
    assert abs((kick**4).mean() - 3) < 40 * error
    assert abs(np.corrcoef(kick[:-1].ravel(), kick[1:].ravel())[0, 1]) < 4 * error


def test_draws_differ_between_seeds_layers_and_steps():
    seen = {chance.kept(seed, layer, step, 20, 20, 0.5).tobytes()
            for seed in range(3) for layer in range(3) for step in range(3)}  # fmt: skip
    assert len(seen) == 27


def test_label_noise_replaces_its_share_by_any_class():
    labels = np.full(40_000, 3)
    mixed = chance.mixed_labels(labels, 1, 2, share=0.5, classes=10)
    counts = np.bincount(mixed, minlength=10)
    assert abs(counts[3] / 40_000 - 0.55) < 0.01
    assert np.abs(np.delete(counts, 3) / 40_000 - 0.05).max() < 0.006
    assert (labels == 3).all()


def test_batches_end_with_what_is_left_but_never_with_one_sample_before_batch_norm():
    assert batch_ends(replace(SMALL, batch=40), 100) == [(0, 40), (40, 80), (80, 100)]
    assert batch_ends(replace(SMALL, batch=33), 100) == [(0, 33), (33, 66), (66, 99)]
    assert batch_ends(replace(SMALL, batch=33, batch_norm=False), 100)[-1] == (99, 100)
    assert batch_ends(replace(SMALL, batch=500), 100) == batch_ends(SMALL, 100) == [(0, 100)]
    with pytest.raises(UsageError, match="one sample"):
        replace(SMALL, batch=1)


def test_every_epoch_goes_through_all_samples_in_another_order():
    recipe = replace(SMALL, batch=10)
    orders = [epoch_order(recipe, epoch, 100) for epoch in range(3)]
    assert all((np.sort(order) == np.arange(100)).all() for order in orders)
    assert (orders[0] != orders[1]).any() and (orders[1] != orders[2]).any()


def test_training_ends_when_the_loss_rests_or_blows_up():
    endless = replace(SMALL, epochs=100)
    assert finished(endless, [1.0, 9e-5])
    assert finished(endless, [0.5, 0.5 - 1e-11])
    assert finished(endless, [float("nan")])
    assert not finished(endless, [0.5, 0.4])
    assert not finished(replace(endless, stop=False), [0.5, 0.5])


@pytest.mark.parametrize(("wrong", "says"), [
    ({"alpha": -0.1}, "alpha"), ({"dropout": 1}, "no unit"), ({"label_noise": 2}, "label_noise"),
    ({"optimizer": "lbfgs"}, "adam or sgd"), ({"learning_rate": float("inf")}, "learning_rate"),
    ({"depth": 0}, "depth"),
])  # fmt: skip
def test_impossible_recipes_are_refused(wrong, says):
    with pytest.raises(UsageError, match=says):
        Recipe(seed=1, **wrong)


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_weights_start_as_torch_starts_them_and_leave_its_generator_alone(network):
    recipe = replace(SMALL, network=network, width=6)
    before = torch.get_rng_state()
    ours = build(recipe, 64, 10)
    assert torch.equal(before, torch.get_rng_state())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        for part in ours.modules():
            if isinstance(part, torch.nn.Linear):
                theirs = torch.nn.Linear(part.in_features, part.out_features)
            elif isinstance(part, torch.nn.Conv2d):
                theirs = torch.nn.Conv2d(part.in_channels, part.out_channels, 3, padding=1)
            else:
                continue
            assert torch.equal(part.weight, theirs.weight) and torch.equal(part.bias, theirs.bias)


def test_recipes_pass_through_their_text():
    recipe = Recipe(seed=np.int64(4), dropout=np.float64(0.25), batch=20, network="cnn")
    assert Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(InputError, match="recipe"):
        Recipe.from_json("[1, 2]")


def test_layer_features_are_input_hidden_layers_and_logits(data):
    model = build(SMALL, 64, 10)
    stages = layer_features(model, data.test_features)
    assert [stage.shape[1] for stage in stages] == [64, 24, 24, 24, 10]
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(data.test_features)).numpy()
    assert_array_equal(stages[-1], logits)
    assert all((stage >= 0).all() for stage in stages[1:-1])


def test_a_kept_network_answers_as_before(tmp_path, data):
    (net,) = train([replace(SMALL, alpha=0.2)], data)
    path = tmp_path / "net.safetensors"
    saved.write(net, path, inputs=64, classes=10)
    again = saved.load(path)
    with torch.no_grad():
        x = torch.from_numpy(data.test_features)
        assert torch.equal(net.model(x), again(x))
    assert Recipe.from_json(saved.metadata(path)["rulerlab.recipe"]) == net.recipe


def test_files_that_are_no_networks_are_told(tmp_path, data):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="safetensors"):
        saved.load(path)
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="rulerlab train"):
        saved.load(path)
    save_file({"weight": torch.zeros(2)}, path, {
        "rulerlab.recipe": SMALL.to_json(), "rulerlab.inputs": "64", "rulerlab.classes": "10"})
    with pytest.raises(InputError, match="do not fit"):
        saved.load(path)


def test_the_verb_writes_networks_losses_and_what_made_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["train", "--data", "digits", "--samples", "200", "--epochs", "4", "--width", "24",
               "--depth", "4", "--seeds", "2", "--dropout", "0.1", "-o", "nets", "--json"]
    with pytest.raises(SystemExit) as done:
        main(command)
    assert done.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1 and len(found["networks"]) == 2
    folder = tmp_path / "nets"
    table = np.genfromtxt(folder / "losses.csv", delimiter=",", names=True)
    assert table.dtype.names == ("epoch", "loss_1", "loss_2") and len(table) == 4
    assert_allclose(found["networks"][1]["loss"], table["loss_2"][-1], rtol=1e-6)
    assert (folder / "losses.svg").read_text().startswith("<?xml")
    assert saved.load(folder / "net_2.safetensors")(torch.zeros(1, 64)).shape == (1, 10)
    with pytest.raises(SystemExit) as done:
        main(command)
    assert done.value.code == 2 and "--force" in capsys.readouterr().err


def test_the_verb_says_when_training_blew_up(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["train", "--samples", "100", "--optimizer", "sgd", "--learning-rate", "1e6",
              "--no-batch-norm", "--depth", "3", "--width", "24", "--epochs", "9"])
    assert done.value.code == 4
    assert "blew up with seed 1" in capsys.readouterr().err
    assert (tmp_path / "networks" / "net_1.safetensors").exists()


def test_gaussian_clouds_can_be_learned():
    (net,) = train([Recipe(seed=1, depth=1, epochs=60, learning_rate=0.05)],
                   gaussian_mixture(samples=400, features=20, classes=4, distance=5.0))
    assert net.accuracy > 95
