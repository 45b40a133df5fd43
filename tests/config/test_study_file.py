"""Study files of one's own: what they may say, and what is said to those who err."""

from pathlib import Path

import pytest

from entropick import config
from entropick.datasets import Digits
from entropick.errors import ConfigError, InputError
from entropick.generators import DDPM, KDE
from entropick.paradigms import Accumulate, Replace
from entropick.selectors import Greedy, Random

BASE = """
[loop]
dataset = "digits"
generator = "kde"

[arms.one]
"""


@pytest.fixture
def load(tmp_path):
    """Load a study file with this text."""

    def load(text, overrides=(), **options):
        path = tmp_path / "my-study.toml"
        path.write_text(text, encoding="utf-8")
        return config.load_study(str(path), overrides, **options)

    return load


def test_the_least_that_a_study_says(load):
    study = load(BASE)
    assert study.name == "my-study" and study.seeds == (0,)
    assert study.arms["one"].describe() == {
        **{"dataset": Digits().describe(), "generator": KDE().describe(), "paradigm": Accumulate().describe()},
        **{"selector": None, "features": {"kind": "pixels"}, "evaluation": [], "n_iterations": 5},
        **{"metrics": list(study.arms["one"].metrics), "n_generated": None, "seed": 0},
        **{"guard": None, "garbage_share": 0.0},
    }


def test_settings_of_the_study(load):
    head = 'name = "n"\ntitle = "t"\ndescription = "d"\nseeds = [3, 5]\nthreads = 2\ncheckpoint_seconds = 4\n'
    study = load(head + BASE)
    found = (study.name, study.title, study.description, study.seeds, study.threads, study.checkpoint_seconds)
    assert found == ("n", "t", "d", (3, 5), 2, 4.0) and isinstance(study.checkpoint_seconds, float)


def test_an_arm_changes_single_parameters_of_the_base(load):
    text = """
    [loop]
    dataset = "digits"
    generator = { kind = "ddpm", network = "mlp", width = 32, steps = 10 }
    selector = { kind = "random", n_samples = 20 }
    n_iterations = 3
    [arms.a]
    generator = { width = 64 }
    selector.stratify = true
    [arms.b]
    generator = { kind = "kde", bandwidth = 2 }
    paradigm = "replace"
    selector = "none"
    n_iterations = 2
    [arms.c]
    dataset = { n_images = 99 }
    """
    arms = load(text).arms
    assert arms["a"].generator == DDPM(network="mlp", width=64, steps=10)
    assert arms["a"].selector == Random(n_samples=20, stratify=True)
    assert arms["b"].generator == KDE(bandwidth=2.0)
    assert arms["b"].paradigm == Replace() and arms["b"].selector is None and arms["b"].n_iterations == 2
    assert arms["c"].generator == DDPM(network="mlp", width=32, steps=10)
    assert arms["c"].dataset == Digits(n_images=99) and arms["c"].n_iterations == 3


def test_sizes_scale_everything_in_proportion(load):
    text = """
    sizes = [16, 32]
    [loop]
    dataset = { kind = "digits", n_reference = 100 }
    generator = "kde"
    selector = "greedy"
    pool_factor = 2
    [arms.one]
    [arms.half]
    selector = { n_samples = 16 }
    """
    study = load(text)
    study.check()
    found = [
        (run.path, run.loop.dataset.n_images, run.loop.selector.n_samples, run.loop.n_generated)
        for run in study.arm_runs()
    ]
    assert found == [
        ("arms/one/size-16/seed-0", 16, 16, 32),
        ("arms/half/size-16/seed-0", 16, 8, 32),
        ("arms/one/size-32/seed-0", 32, 32, 64),
        ("arms/half/size-32/seed-0", 32, 16, 64),
    ]


UNSCALED = {
    "sizes = [16, 32]\n" + BASE: "expected a dataset with n_reference",
    "sizes = [16, 16]\n" + BASE: r"sizes: expected different numbers, got \[16, 16\]",
    "sizes = [0]\n" + BASE: "sizes: expected a whole number of at least 1, got 0",
    "sizes = 16\n" + BASE: r"sizes: expected a list of whole numbers, got 16",
    "sizes = [9, 32]\n"
    + BASE.replace('"digits"', '{ kind = "digits", n_reference = 9 }')
    + 'selector = { kind = "greedy", n_samples = 15 }': "n_samples = 15 for 32 real images is no whole number for 9",
}


@pytest.mark.parametrize("text", UNSCALED)
def test_mistakes_about_sizes(load, text):
    with pytest.raises(InputError, match=UNSCALED[text]):
        load(text).check()


def test_a_file_extends_another_beside_it(load, tmp_path):
    (tmp_path / "base.toml").write_text(
        'title = "theirs"\nseeds = [4]\nn_images = 32\n[loop]\ndataset = "digits"\ngenerator = "kde"\n'
        "n_iterations = 3\n[arms.theirs]\n"
    )
    study = load('extends = "base.toml"\nn_images = 64\n[loop]\ngenerator = { bandwidth = 5 }\n')
    assert (study.name, study.title, study.seeds, list(study.arms)) == ("my-study", "", (4,), ["theirs"])
    loop = study.arms["theirs"]
    assert (loop.generator, loop.n_iterations, loop.dataset.n_images) == (KDE(bandwidth=5.0), 3, 64)
    assert list(load('extends = "base.toml"\n[arms.mine]\n').arms) == ["mine"]


def test_a_file_extends_a_preset(load):
    study = load('extends = "smoke"\n[arms.mine]\nselector = "random"\n')
    assert list(study.arms) == ["mine"] and study.arms["mine"].generator.kind == "ddpm"


@pytest.mark.parametrize("base", ["my-study.toml", "gone.toml", "gone"])
def test_extending_in_a_circle_or_nothing(load, base):
    with pytest.raises(ConfigError, match=r"Is there a circle|expected a study file|there is no preset"):
        load(f'extends = "{base}"\n' + BASE)


def test_variables_of_the_environment(load, monkeypatch):
    text = '[loop]\ngenerator = "kde"\ndataset = { kind = "array-file", path = "${THEIR_DATA}/a.npz" }\n[arms.one]\n'
    monkeypatch.delenv("THEIR_DATA", raising=False)
    with pytest.raises(
        ConfigError, match=r"dataset\.path: .*wants the environment variable THEIR_DATA, which is not set"
    ):
        load(text)
    assert load(text.replace("THEIR_DATA", "THEIR_DATA:-here")).arms["one"].dataset.path == "here/a.npz"
    monkeypatch.setenv("THEIR_DATA", "/there")
    for given in (text, text.replace("THEIR_DATA", "THEIR_DATA:-here")):
        assert load(given).arms["one"].dataset.path == "/there/a.npz"


SIZED = """
n_images = 64
[loop]
dataset = "digits"
generator = "kde"
selector = "greedy"
[arms.plain]
[arms.doubled]
pool_factor = 2
[arms.own]
dataset = { kind = "digits", n_images = 70 }
selector = { n_samples = 30 }
n_generated = 50
[arms.all]
selector = "none"
"""


def test_n_images_sizes_data_selection_and_generation(load):
    arms = load(SIZED).arms
    found = {
        name: (loop.dataset.n_images, loop.selector and loop.selector.n_samples, loop.n_generated)
        for name, loop in arms.items()
    }
    assert found == {"plain": (64, 64, 64), "doubled": (64, 64, 128), "own": (70, 30, 50), "all": (64, None, 64)}


def test_n_images_from_outside_scales_everything(load):
    loop = load(SIZED, [("n_images", 32)]).arms["doubled"]
    assert (loop.dataset.n_images, loop.selector.n_samples, loop.n_generated) == (32, 32, 64)


def test_overrides_reach_into_components(load):
    overrides = [("loop.generator.bandwidth", 3), ("arms.one.paradigm", "replace"), ("seeds", [1, 2]), ("title", "x")]
    study = load(BASE, overrides)
    assert study.arms["one"].generator == KDE(bandwidth=3.0)
    assert study.arms["one"].paradigm == Replace() and study.seeds == (1, 2) and study.title == "x"


def test_an_override_cannot_add_an_arm_by_a_slip_of_the_pen(load):
    with pytest.raises(ConfigError, match=r"arms\.too\.n_generated: expected arms\.NAME\.KEY .* there are one, two"):
        load(BASE + "[arms.two]\n", [("arms.too.n_generated", 9)])


def test_an_override_reaches_an_arm_whose_name_holds_a_dot(load):
    study = load(BASE + '[arms."a.b"]\n', [("arms.a.b.n_generated", 9)])
    assert study.arms["a.b"].n_generated == 9


def test_an_override_of_all_loops_reaches_what_an_arm_sets_itself(load):
    arms = '[arms.two]\nselector = { kind = "greedy", n_samples = 5 }\n[arms.three]\nselector = "none"\n'
    study = load(BASE + arms, [("loop.selector.n_samples", 9)])
    assert study.arms["two"].selector == Greedy(n_samples=9) and study.arms["three"].selector is None


def test_an_override_of_all_loops_has_a_parameter_in_an_arm_that_was_chosen(load):
    text = BASE + '[arms.two]\ngenerator = { kind = "ddpm", steps = 9 }\n'
    assert load(text, [("loop.generator.steps", 5)]).arms["two"].generator.steps == 5
    assert load(text, [("loop.generator.steps", 5)], arms=("two",)).arms["two"].generator.steps == 5
    with pytest.raises(ConfigError, match=r"loop\.generator: there is no 'steps'; known are bandwidth"):
        load(text, [("loop.generator.steps", 5)], arms=("one",))


def test_parameters_of_no_selector_want_a_kind(load):
    text = BASE.replace("[loop]", '[loop]\nselector = "none"') + "[arms.two]\nselector = { n_samples = 8 }\n"
    expected = "arm 'two': selector: expected a kind that has 'n_samples', but the selector is \"none\"\\. Give a kind"
    with pytest.raises(ConfigError, match=expected):
        load(text)


@pytest.mark.parametrize("n_images", ["", "n_images = 16\n"])
def test_no_selector_may_be_said_by_its_kind(load, n_images):
    study = load(n_images + BASE + "[arms.two]\nselector.kind = 'none'\n[arms.three]\nguard = { kind = 'none' }\n")
    assert study.arms["two"].selector is None and study.arms["three"].guard is None


def test_arms_can_be_chosen(load):
    study = load(BASE + "[arms.two]\n[arms.three]\n", arms=("three", "one"))
    assert list(study.arms) == ["three", "one"]
    with pytest.raises(ConfigError, match=r"arms: there is no 'tow' in .*; it has one, two\."):
        load(BASE + "[arms.two]\n", arms=("tow",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500", 500),
        ("0.5", 0.5),
        ("true", True),
        ('"5"', "5"),
        ("[1, 2]", [1, 2]),
        ("auto", "auto"),
        ("runs/x", "runs/x"),
        ("", ""),
        ("1e-3", 1e-3),
    ],
)
def test_values_of_the_command_line(text, expected):
    assert config.parse_value(text) == expected and type(config.parse_value(text)) is type(expected)


def loop_with(line):
    return f'[loop]\ndataset = "digits"\ngenerator = "kde"\n{line}\n[arms.one]\n'


MISTAKES = {
    # what the file says: what the message must say
    "x = 1\n" + BASE: r"my-study\.toml: there is no 'x'; known are name, .*",
    "theads = 1\n" + BASE: r"there is no 'theads'.*[Dd]id you mean 'threads'",
    loop_with("n_iteration = 3"): r"arm 'one': there is no 'n_iteration'; .*[Dd]id you mean 'n_iterations'",
    loop_with('selector = "gredy"'): r"arm 'one': selector: there is no kind 'gredy'; known are random, greedy, "
    r"approximate-greedy, threshold-decay, density-greedy, gist, latent-space-filter, denoising-loss\. "
    "Did you mean 'greedy'\\?",
    loop_with('selector = "zzz"'): r"there is no kind 'zzz'; known are random, greedy, "
    r"approximate-greedy, threshold-decay, density-greedy, gist, latent-space-filter, denoising-loss\.$",
    loop_with('paradigm = { kind = "replace", n = 1 }'): r"paradigm \(kind 'replace'\): there is no 'n'",
    loop_with("selector = { n_samples = 3 }"): r"selector: expected a kind's name or a table with kind",
    loop_with("paradigm = 5"): r"paradigm: expected a kind's name or a table with kind = .*, got 5",
    loop_with("paradigm = { kind = 5 }"): r"paradigm: expected a kind's name",
    loop_with('selector = "greedy"'): r"selector: kind 'greedy' needs n_samples",
    loop_with(
        'selector = { kind = "greedy", n_samples = "9" }'
    ): r"selector\.n_samples: expected a whole number, got '9'",
    loop_with(
        'selector = { kind = "greedy", n_samples = 9.0 }'
    ): r"selector\.n_samples: expected a whole number, got 9\.0",
    loop_with(
        'selector = { kind = "greedy", n_samples = true }'
    ): r"selector\.n_samples: expected a whole number, got True",
    loop_with(
        'selector = { kind = "random", n_samples = 9, stratify = 1 }'
    ): r"stratify: expected true or false, got 1",
    loop_with('n_iterations = "3"'): r"n_iterations: expected a whole number, got '3'",
    loop_with('metrics = "recall"'): r"metrics: expected a list of texts, got 'recall'",
    loop_with("metrics = [1]"): r"metrics: expected a list of texts, got \[1\]",
    loop_with('evaluation = "pixels"'): r"evaluation: expected a list, got 'pixels'",
    loop_with('evaluation = ["pixel"]'): r"evaluation: there is no kind 'pixel'; .*Did you mean 'pixels'",
    loop_with("pool_factor = 2"): r"pool_factor multiplies the study's n_images",
    "n_images = 9\n"
    + loop_with("pool_factor = 2\nn_generated = 9"): r"expected pool_factor or n_generated, got 2 and 9",
    "n_images = 9\n" + loop_with("pool_factor = 0"): r"pool_factor: expected a whole number of at least 1, got 0",
    "n_images = 9\n" + loop_with("selector = 3"): r"selector: expected a table, got 3",
    "n_images = '9'\n" + BASE: r"n_images: expected a whole number of at least 1, got '9'",
    "n_images = 0\n" + BASE: r"n_images: expected a whole number of at least 1, got 0",
    "seeds = 3\n" + BASE: r"seeds: expected a list of whole numbers, got 3",
    "seeds = [0.5]\n" + BASE: r"seeds: expected a list of whole numbers, got \[0\.5\]",
    "seeds = [3, -1]\n" + BASE: r"seeds: expected a whole number of at least 0, got -1",
    "threads = '2'\n" + BASE: r"threads: expected a whole number, got '2'",
    "name = 3\n" + BASE: r"name: expected text, got 3",
    "loop = 3\n[arms.one]": r"loop: expected a table, got 3",
    "arms = ['one']": r"arms: expected a table, got \['one'\]",
    "[arms]\none = 'greedy'": r"one.*: expected a table, got 'greedy'",
    "[arms.one]": r"arm 'one': needs a dataset\. Give it under \[loop\] or \[arms\.one\]",
    "[loop]\ndataset = 'digits'\n[arms.one]": r"arm 'one': needs a generator",
    "[loop]\ndataset = 'digits'\ngenerator = 'kde'\n[arms.'replace+greedy']": (
        r"arm 'replace\+greedy': is named after a paradigm, but none is given, so its pool would accumulate\. Give "
        r'paradigm = "replace" under'
    ),
    "[loop]\ndataset = 'array-file'\ngenerator = 'kde'\n[arms.one]": r"dataset: kind 'array-file' needs path",
    BASE + "n_iterations = { a = 1 }": r"n_iterations: expected a whole number, got \{'a': 1\}",
    loop_with("n_iterations = 3")
    + "n_iterations = { a = 1 }": r"n_iterations: expected a whole number, got \{'a': 1\}",
    loop_with("paradigm = 3") + "paradigm = { a = 1 }": r"paradigm: expected a kind's name",
    "name = \n": r"my-study\.toml is not TOML: .*line 1",
    "seeds = [0]\nseeds = [1]\n": r"is not TOML: .*line 2",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_in_a_study_file(load, text):
    with pytest.raises(InputError, match=MISTAKES[text]) as caught:
        load(text)
    assert "Traceback" not in str(caught.value)


# Found by `check`, before anything is run or written.
UNUSABLE = {
    "[loop]\ndataset = 'digits'\ngenerator = 'kde'\n": "arms: expected at least one",
    "": "arms: expected at least one, in a study file a table such as",
    "seeds = []\n" + BASE: "seeds: expected a tuple of at least one seed",
    "seeds = [1, 1]\n" + BASE: r"seeds: expected different numbers, got \[1, 1\]",
    "threads = 0\n" + BASE: "threads: expected a whole number of at least 1",
    "checkpoint_seconds = -1\n" + BASE: "checkpoint_seconds: expected a number",
    "checkpoint_seconds = nan\n" + BASE: "checkpoint_seconds: expected a number",
    loop_with("n_iterations = 0"): r"arm 'one': n_iterations: expected .*at least 1, got 0",
    loop_with("n_generated = -4"): r"arm 'one': n_generated: expected .*at least 1, got -4",
    loop_with('metrics = ["recal"]'): r"arm 'one': metrics: there is no 'recal'; known are generalization_score",
    loop_with('dataset.kind = "digits"\ndataset.n_images = 1796').replace('dataset = "digits"\n', ""): "at most 1781",
    loop_with('selector = { kind = "greedy", n_samples = 9, random_state = 1 }'): "random_state=None inside a loop",
    loop_with('selector = { kind = "greedy", n_samples = 9, random_state = "x" }'): "random_state: expected",
    loop_with(
        'paradigm = "replace"\nselector = { kind = "density-greedy", n_samples = 9 }'
    ): "'density-greedy' expects real images in every pool, but paradigm 'replace' keeps none",
    loop_with('selector = { kind = "density-greedy", n_samples = 9, trusted = 1 }'): "trusted = 0, the real data",
    BASE.replace('"kde"', '{ kind = "kde", bandwidth = 0 }'): "arm 'one': bandwidth: expected a number",
    BASE.replace('"kde"', '{ kind = "ddpm", network = "unett" }'): "network: expected one of unet, mlp",
    BASE.replace('"kde"', '{ kind = "ddpm", device = "gpu" }'): "device: expected a usable torch device",
    BASE.replace('"digits"', '{ kind = "array-file", path = "gone.npz" }'): r"gone\.npz: expected a file of images",
    BASE.replace('"digits"', '{ kind = "image-folder", path = "gone" }'): "gone: expected a folder of images",
}


@pytest.mark.parametrize("text", UNUSABLE)
def test_unusable_values_are_found_without_running(load, text):
    study = load(text)
    with pytest.raises(InputError, match=UNUSABLE[text]):
        study.check()


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", "a/b", "/etc", "", "a\\b", ".hidden", "-x", "x" * 65, "a\nb", "a\0b"]
)
def test_arm_names_that_could_leave_the_directory(load, name):
    study = load(BASE, [("name", "fine")])
    escaping = type(study)(name="fine", arms={name: study.arms["one"]})
    with pytest.raises(InputError, match="arms: expected names of letters"):
        escaping.check()


def test_a_missing_file_lists_the_presets(tmp_path):
    with pytest.raises(
        ConfigError, match=r"gone\.toml: expected a study file, but there is none\. Presets are copies, "
    ):
        config.load_study(str(tmp_path / "gone.toml"))


def test_a_directory_is_no_study_file(tmp_path):
    (tmp_path / "study.toml").mkdir()
    with pytest.raises(ConfigError, match="expected a study file"):
        config.load_study(str(tmp_path / "study.toml"))


def test_an_unreadable_file(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "study.toml").write_text(BASE)
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match=r"study\.toml: expected a readable study file, but Permission denied"):
        config.load_study(str(tmp_path / "study.toml"))


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "study.toml").write_bytes(b"name = '\xff\xfe'")
    with pytest.raises(ConfigError, match=r"is not TOML: .*utf-8"):
        config.load_study(str(tmp_path / "study.toml"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("loop.n_iterations.x", 1, "'n_iterations' is a single value, not a table"),
        ("loop.generator.steps", 5, r"loop\.generator: there is no 'steps'; known are bandwidth"),
        ("loop.nonsense", 5, "there is no 'nonsense'"),
        ("nonsense", 5, "there is no 'nonsense'"),
        ("", 5, "expected names between the dots"),
        (".", 5, "expected names between the dots"),
        ("loop", 5, "loop: expected a table, got 5"),
        ("arms.one", "x", r"expected arms\.NAME\.KEY"),
    ],
)
def test_mistakes_in_overrides(load, key, value, message):
    with pytest.raises(ConfigError, match=message):
        load(BASE.replace("[arms.one]", "n_iterations = 2\n[arms.one]"), [(key, value)])
