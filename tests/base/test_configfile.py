"""Configuration: the order of the layers, and every mistake named with its place (X04)."""

import tomllib
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.config import Config, LlmBackend
from hearthnet.base.configfile import load_config, render_default
from hearthnet.base.errors import ConfigError
from hearthnet.base.paths import Paths, resolve_paths

BACKEND = '{"name": "ollama", "url": "http://localhost:11434/v1", "model": "llama3"}'


class Home:
    """A home whose configuration files a test writes."""

    def __init__(self, folder):
        self.paths: Paths = resolve_paths({"HEARTHNET_HOME": str(folder)})
        self.paths.create()
        self.system = folder / "system.toml"
        self.user = self.paths.config / "config.toml"

    def load(self, text=None, env=None, **options):
        if text is not None:
            self.user.write_text(text, encoding="utf-8")
        return load_config(self.paths, env or {}, system_file=self.system, **options)

    def fault(self, text=None, env=None, **options):
        with pytest.raises(ConfigError) as caught:
            self.load(text, env, **options)
        return caught.value


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


# ---- order ---------------------------------------------------------------------------------------------------


def test_without_any_file_the_built_in_values_hold(home):
    assert home.load(env={"HEARTHNET_HOME": "/somewhere", "PATH": "/bin"}) == Config()


def test_each_layer_wins_over_the_one_before(home, tmp_path):
    layers = []
    extra = tmp_path / "extra.toml"
    drop_in = home.paths.config / "conf.d"
    drop_in.mkdir()
    for path, port in ((home.system, 1), (home.user, 2), (drop_in / "a.toml", 3), (drop_in / "b.toml", 4), (extra, 5)):
        path.write_text(f"[ui]\nport = {port}\n")
        layers.append(home.load(extra_file=extra if path == extra else None).ui.port)
    env = {"HEARTHNET_UI_PORT": "6"}
    layers.append(home.load(env=env, extra_file=extra).ui.port)
    layers.append(home.load(env=env, extra_file=extra, flags={"ui.port": "7"}).ui.port)
    assert layers == [1, 2, 3, 4, 5, 6, 7]


def test_layers_add_up_key_by_key_but_lists_are_replaced(home):
    home.system.write_text('[ui]\nhost = "0.0.0.0"\nhosts = ["a", "b"]\n')
    ui = home.load('[ui]\nport = 80\nhosts = ["c"]\n').ui
    assert (ui.host, ui.port, ui.hosts) == ("0.0.0.0", 80, ("c",))


def test_the_file_named_on_the_command_line_must_exist(home, tmp_path):
    assert "nowhere.toml" in home.fault(extra_file=tmp_path / "nowhere.toml").detail


# ---- values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("UI_PORT", "0", 0),
        ("NODE_NAME", "Küche", "Küche"),
        ("NODE_NAME", "", ""),
        ("UI_HOSTS", "box.local, hearth.lan,", ("box.local", "hearth.lan")),
        ("LLM_OFFLINE", "yes", True),
        ("IDENTITY_AUTO_GENERATE", "0", False),
        ("LLM_IDLE_UNLOAD_S", "2.5", 2.5),
        ("LLM_IDLE_UNLOAD_S", "3", 3.0),
        ("LLM_BACKENDS", f"[{BACKEND}]", (LlmBackend("ollama", "http://localhost:11434/v1", "llama3"),)),
        ("UI_PORT", "", 7860),
    ],
)
def test_variables_are_read_by_the_type_of_their_key(home, variable, text, value):
    section, _, key = variable.lower().partition("_")
    assert getattr(getattr(home.load(env={f"HEARTHNET_{variable}": text}), section), key) == value


def test_every_key_can_be_set_by_its_variable(home):
    for section in msgspec.structs.fields(Config):
        for field in msgspec.structs.fields(section.type):
            default = getattr(section.default, field.name)
            text = ",".join(default) if field.name == "hosts" else msgspec.json.encode(default).decode().strip('"')
            assert home.load(env={f"HEARTHNET_{section.name}_{field.name}".upper(): text}) == Config(), field.name


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("UI_PORT", "eighty"), ("UI_PORT", "70000"), ("UI_PORT", "1.5"), ("LLM_OFFLINE", "perhaps"), ("LLM_IDLE_UNLOAD_S", "-1"),
        ("LLM_IDLE_UNLOAD_S", "inf"), ("NODE_LANGUAGE", "fr"), ("LLM_BACKENDS", "ollama"), ("LLM_BACKENDS", '[{"name":"x"}]'),
    ],
)  # fmt: skip
def test_a_variable_that_does_not_fit_is_named(home, variable, text):
    fault = home.fault(env={f"HEARTHNET_{variable}": text})
    assert f"HEARTHNET_{variable}" in fault.detail
    assert fault.fix


def test_texts_may_use_variables(home):
    config = home.load(
        '[node]\nname = "${USER}s box"\n[ui]\nhosts = ["${HOST}.local"]\n', {"USER": "anna", "HOST": "x"}
    )
    assert (config.node.name, config.ui.hosts) == ("annas box", ("x.local",))
    fault = home.fault('[node]\n\nname = "${NOBODY}"\n')
    assert fault.detail.startswith(f"{home.user}:3: node.name: ")
    assert "NOBODY" in fault.fix


def outcome(home):
    try:
        return home.load()
    except ConfigError as fault:
        return fault


# ---- mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "says", "fix"),
    [
        ("[ui]\nprot = 1\n", 2, "unknown key ui.prot", "did you mean port?"),
        ("# x\n[uii]\nport = 1\n", 2, "unknown section uii", "did you mean ui?"),
        ("zzz = 1\n", 1, "unknown section zzz", "known here: bus, "),
        ('[ui]\n# port\nport = "80"\n', 3, "ui.port: expected int, got str", "Port of pages and API"),
        ("[ui]\nhost = 5\n", 2, "ui.host: expected str, got int", "Address"),
        ("[ui]\nport = 70000\n", 2, "ui.port: expected int <= 65535", "Port"),
        ('[node]\nlanguage = "fr"\n', 2, "node.language: expected str matching regex", "de or en"),
        ("ui = 5\n", 1, "ui: expected object, got int", ""),
        ("ui.port = true\n", 1, "ui.port: expected int, got bool", "Port"),
        ("ui = { host = 'a', port = 'b' }\n", 1, "ui.port: expected int", "Port"),
        ("[llm]\nidle_unload_s = inf\n", 2, "llm.idle_unload_s: inf is no usable number", ""),
        ("[ui]\nport = \n", 2, "Invalid value", "config default"),
        ("[ui", 1, "Expected ']'", "config default"),
        ("[ui]\nport = 1\nport = 2\n", 3, "Cannot overwrite", "config default"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_named_with_its_line(home, text, line, says, fix):
    fault = home.fault(text)
    assert fault.detail.startswith(f"{home.user}:{line}: "), fault.detail
    assert says in fault.detail
    assert fix in fault.fix


def test_a_mistake_in_the_second_backend_is_found_there(home):
    good = '[[llm.backends]]\nname = "a"\nurl = "http://a"\nmodel = "m"\n'
    wrong_type = home.fault(good + "\n" + good.replace('"m"', "5"))
    assert wrong_type.detail.startswith(f"{home.user}:9: llm.backends[1].model: expected str")
    unknown = home.fault(good + good + 'modle = "x"\n')
    assert unknown.detail == f"{home.user}:9: unknown key llm.backends[1].modle"
    assert unknown.fix == "did you mean model?"
    missing = home.fault(good + '[[llm.backends]]\nname = "b"\n')
    assert missing.detail.startswith(f"{home.user}:5: llm.backends[1]: object missing required field")


def test_text_inside_a_long_string_is_no_key(home):
    fault = home.fault('[node]\nname = """\n[ui]\nport = 1\n"""\n[ui]\nport = "x"\n')
    assert fault.detail.startswith(f"{home.user}:7: ui.port")


def test_a_file_that_cannot_be_read_is_named(home):
    home.user.mkdir()
    assert str(home.user) in home.fault().detail
    home.user.rmdir()
    home.user.write_bytes(b'[node]\nname = "\xff"\n')
    assert "UTF-8" in home.fault().detail


def test_a_byte_order_mark_from_a_windows_editor_does_no_harm(home):
    home.user.write_bytes(b"\xef\xbb\xbf[ui]\r\nport = 81\r\n")
    assert home.load().ui.port == 81


def test_an_unknown_variable_or_flag_names_the_nearest(home):
    fault = home.fault(env={"HEARTHNET_UI_PROT": "1"})
    assert (fault.detail, fault.fix) == (
        "unknown environment variable HEARTHNET_UI_PROT",
        "did you mean HEARTHNET_UI_PORT?",
    )
    assert "ui.port" in home.fault(flags={"ui.prot": "1"}).fix


@given(
    st.text(max_size=60)
    | st.sampled_from(["[ui]\n", "port=", "[[llm.backends]]\n"]).flatmap(
        lambda head: st.text(max_size=30).map(lambda tail: head + tail)
    )
)
def test_random_files_raise_nothing_but_our_errors(tmp_path_factory, text):
    home = Home(tmp_path_factory.mktemp("home"))
    home.user.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert isinstance(outcome(home), Config) or str(home.user) in outcome(home).detail


# ---- the commented file --------------------------------------------------------------------------------------


def test_the_default_file_changes_nothing_commented_or_not(home):
    text = render_default()
    assert home.load(text) == Config()
    keys = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()
    )
    assert home.load(keys) == Config()
    assert sum(map(len, tomllib.loads(keys).values())) == sum(
        len(msgspec.structs.fields(s.type)) for s in msgspec.structs.fields(Config)
    )


def test_every_key_is_explained_in_the_default_file():
    lines = render_default().splitlines()
    for above, line in pairwise(lines):
        if line.startswith("#") and not line.startswith("# "):
            assert above.startswith("# "), line
            assert len(above) > 10, line


def test_chosen_values_stand_in_the_file(home):
    text = render_default({"node.name": 'Haus "Am Markt"', "ui.port": "80", "ui.hosts": "a,b"})
    config = home.load(text)
    assert (config.node.name, config.ui.port, config.ui.hosts) == ('Haus "Am Markt"', 80, ("a", "b"))
    assert "\nport = 80\n" in text
