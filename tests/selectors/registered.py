"""All components of a section that study files know by a name, as functions that make them."""

from __future__ import annotations

from functools import partial

from entropick.config.components import component_class, kinds


def makers(section, variants=None):
    """Test id -> what makes a component with the parameters that it is called with. `variants` are a kind's parameters
    beside these, one table or several by their ids."""
    found = {}
    for kind in kinds(section):
        given = (variants or {}).get(kind, {})
        tables = given if given and all(isinstance(value, dict) for value in given.values()) else {kind: given}
        for name, table in tables.items():
            found[name] = partial(component_class(section, kind, where="tests"), **table)
    return found
