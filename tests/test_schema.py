"""The JSON schemas: committed ones, presets, malformed files, all that the reader accepts."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from malformed import DOCUMENTS, VALUES, changed, examples, places, refused

from fastgan_ray.cli.main import main
from fastgan_ray.config.run_config import field_names
from fastgan_ray.config.run_file import load_run_config
from fastgan_ray.config.strict_yaml import parse
from fastgan_ray.search.file.read import load_search
from fastgan_ray.search.file.read_ablation import load_ablation
from fastgan_ray.search.file.schema import json_schema

SPACES = Path(__file__).parents[1] / "search_spaces"
PRESETS = sorted(SPACES.glob("*.yaml"))
FILES = {"search": "schema.json", "ablation": "schema_ablation.json", "run": "schema_run.json"}
KINDS = {"run": "run", "bayes": "search", "grid": "search", "ablation": "ablation"}
LOADERS = {"run": load_run_config, "search": load_search, "ablation": load_ablation}
HEAD = "method: random\nmetric: {name: fid}\nparameters: {model.ngf: {values: [8, 16]}}\n"


def validator(kind: str) -> jsonschema.Draft202012Validator:
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("kind", FILES)
def test_the_committed_schema_is_the_one_of_the_command(kind, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["schema", kind])
    assert ended.value.code == 0
    is_current = capsys.readouterr().out == (SPACES / FILES[kind]).read_text()
    assert is_current, "run make schemas: settings or keys have changed"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_name_their_schema_and_validate(preset):
    text = preset.read_text()
    kind = "ablation" if preset.stem.startswith("ablation") else "search"
    assert text.split("\n")[0] == f"# yaml-language-server: $schema={FILES[kind]}"
    validator(kind).validate(parse(text, preset.name).data)


def test_an_editor_knows_every_setting_with_its_meaning():
    schema = json_schema("search")
    assert field_names() == tuple(
        name for name in schema["$defs"]["RunConfig"]["properties"] if "." in name
    )
    parameters = schema["properties"]["parameters"]["properties"]
    assert parameters["model.ngf"]["description"].startswith(
        "number of channels in the generator's feature maps of 128 px; smaller maps have more "
        "channels, larger maps have fewer"
    )
    assert "eval.seed" not in parameters and "data.fit" not in parameters
    assert all(entry["description"] for entry in parameters.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD + "run_cpa: 3",
        HEAD + "run_cap: 0",
        HEAD + "seed: x",
        HEAD + "name: a/b",
        HEAD + "sampler: tep",
        HEAD + "base: {train: {lr_q: 1}}",
        HEAD + "base: {train.lr_g: 3}",
        HEAD + "base: {train: {loss: hing}}",
        HEAD + "base: {model: {resolution: 100}}",
        HEAD + "confirm: {top: 0}",
        HEAD + "confirm: true",
        HEAD + "budget: {days: 1}",
        HEAD + "early_terminate: {min_iter: 4}",
        HEAD + "early_terminate: {type: median}",
        HEAD + "early_terminate: {type: hyperband, min_itre: 4}",
        HEAD + "early_terminate: [{type: patience, kimg: 0}]",
        HEAD + "population: {quantile: 0.2}",
        HEAD.replace("random", "byes"),
        HEAD.replace("fid", "{}"),
        HEAD.replace("name: fid", "name: fid, gaol: minimize"),
        HEAD.replace("model.ngf", "ngf"),
        HEAD.replace("{model.ngf: {values: [8, 16]}}", "{model: {ngf: {values: [8]}}}"),
        HEAD.replace("{model.ngf: {values: [8, 16]}}", "{model: {parameters: {nfg: {value: 8}}}}"),
        HEAD.replace("model.ngf", "eval.num_fakes"),
        HEAD.replace("values: [8, 16]", "valeus: [8, 16]"),
        HEAD.replace("values: [8, 16]", "values: []"),
        HEAD.replace("values: [8, 16]", "values: [8, x]"),
        HEAD.replace("values: [8, 16]", "value: 0"),
        HEAD.replace("values: [8, 16]", "min: 8"),
        HEAD.replace("values: [8, 16]", "distribution: log_uniform, min: 8, max: 9"),
        HEAD.replace("values: [8, 16]", "values: [8, 16], max: 9"),
    ],
)
def test_malformed_searches_do_not_validate(text, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    assert refused(load_search, tmp_path / "x.yaml")
    assert not validator("search").is_valid(yaml.safe_load(text))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_the_reader_accepts_the_schema_accepts(tmp_path, document):
    kind, path = KINDS[document], tmp_path / "x.yaml"
    schema, count = validator(kind), []

    @examples(200)
    @given(data=st.data())
    def run(data):
        tree = yaml.safe_load(DOCUMENTS[document])
        place = data.draw(st.sampled_from(places(tree)))
        change = data.draw(st.sampled_from(["replace", "remove", "rename"]))
        tree = changed(tree, place, change, data.draw(VALUES))
        path.write_text(yaml.safe_dump(tree, allow_unicode=True))
        if not refused(LOADERS[kind], path):
            count.append(1)
            schema.validate(json.loads(json.dumps(parse(path.read_text(), "x").data)))

    run()
    assert len(count) > 10, "few were read"
