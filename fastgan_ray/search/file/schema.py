"""Make the JSON schemas of our files, with which editors complete and check the files."""

from __future__ import annotations

from typing import Any, Literal

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.schedule import Schedule
from fastgan_ray.config.scheduled import ScheduledSection
from fastgan_ray.search.file.model import AblationFile, SearchFile
from fastgan_ray.search.file.parameters import may_be_searched

Kind = Literal["search", "ablation", "run"]
MODELS: dict[Kind, type[SearchFile | AblationFile | RunConfig]] = {
    "search": SearchFile,
    "ablation": AblationFile,
    "run": RunConfig,
}


ABOUT = ("default", "description", "unit")  # keys of a schema that do not depend on the form


class _Generator(GenerateJsonSchema):
    """Generates pydantic's schemas without titles, because a title only repeats a name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - pydantic's
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Return the union as `anyOf`, not `oneOf`, because an entry may fit several members."""
        union = super().tagged_union_schema(schema)
        return {"anyOf": union.get("oneOf", union.get("anyOf"))}


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON schema of a search file, an ablation file or a run's configuration.

    The schema has the keys, types and ranges. Rules about several values are not in the schema;
    only the reader of the file checks them.
    """
    schema = MODELS[kind].model_json_schema(schema_generator=_Generator)
    definitions = schema["$defs"]
    _add_schedules(definitions)
    fields = _fields(definitions)
    run = schema if kind == "run" else definitions["RunConfig"]
    run["properties"] = {
        section: {"anyOf": [{"$ref": value["$ref"]}, {"type": "null"}]}
        for section, value in run["properties"].items()
    } | fields
    for definition in definitions.values():
        if "const" in definition["properties"].get("type", {}):
            definition.setdefault("required", []).insert(0, "type")
    if kind == "search":
        parameters = {
            name: _parameter(field) for name, field in fields.items() if may_be_searched(name)
        }
        definitions["Parameter"] = schema["properties"]["parameters"]["additionalProperties"]
        schema["properties"]["parameters"] |= {
            "properties": _nested(parameters) | parameters,
            "additionalProperties": False,
            "minProperties": 1,
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _add_schedules(definitions: dict[str, Any]) -> None:
    """Change `definitions`: allow a schedule for each number that may be a schedule."""
    definitions["Schedule"] = Schedule.model_json_schema(schema_generator=_Generator)
    for model in (field.annotation for field in RunConfig.model_fields.values()):
        if not (isinstance(model, type) and issubclass(model, ScheduledSection)):
            continue
        properties = definitions[model.__name__]["properties"]
        for name in filter(model.can_be_scheduled, model.model_fields):
            whole = properties[name]
            number = {key: whole.pop(key) for key in [*whole] if key not in ABOUT}
            forms = number.get("anyOf", [number])
            whole["anyOf"] = [*forms, {"$ref": "#/$defs/Schedule"}]


def _fields(definitions: dict[str, Any]) -> dict[str, JsonSchemaValue]:
    """Return {dotted name: schema} for each setting."""
    fields = {}
    for section, config in RunConfig.model_fields.items():
        name = getattr(config.annotation, "__name__", "")
        for field, value in definitions[name]["properties"].items():
            ref = f"#/$defs/{name}/properties/{field}"
            fields[f"{section}.{field}"] = {"$ref": ref, "description": value["description"]}
    return fields


def _nested(parameters: dict[str, JsonSchemaValue]) -> dict[str, JsonSchemaValue]:
    """Return {section: schema} for parameters that are nested as in W&B's sweep files."""
    sections: dict[str, dict[str, JsonSchemaValue]] = {}
    for name, parameter in parameters.items():
        section, _, field = name.partition(".")
        sections.setdefault(section, {})[field] = {
            "$ref": f"#/properties/parameters/properties/{name}",
            "description": parameter["description"],
        }
    return {
        section: {
            "description": f"parameters of the section {section}, nested as in W&B's sweep files",
            "type": "object",
            "properties": {
                "parameters": {
                    "type": "object",
                    "properties": fields,
                    "additionalProperties": False,
                }
            },
            "required": ["parameters"],
            "additionalProperties": False,
        }
        for section, fields in sections.items()
    }


def _parameter(field: JsonSchemaValue) -> JsonSchemaValue:
    """Return the schema of an entry of `parameters`, whose values must fit the schema `field`."""
    value = {"$ref": field["$ref"]}
    return {
        "description": field["description"],
        "allOf": [{"$ref": "#/$defs/Parameter"}],
        "properties": {"value": value, "values": {"items": value}},
    }
