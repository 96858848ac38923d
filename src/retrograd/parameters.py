"""What every pydantic model is made of: a base that rejects unknown keys, and numbers."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from retrograd.errors import nearest


class Model(BaseModel):
    """A frozen model that names the nearest valid key when it meets an unknown one."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key",
                        "unknown key '{key}'; {hint}",
                        {"key": str(key), "hint": nearest(str(key), cls.model_fields)},
                    )
        return data


Size = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
MasterSeed = Annotated[int, Field(ge=0, lt=2**63)]


class Parameters(Model):
    """Parameters of the products that share one section of a paper's config."""


class SampledParameters(Parameters):
    """Parameters of something drawn at random."""

    seed: MasterSeed = 0
    """master seed: config/config.yaml's, unless the section sets its own"""
    seeds: Annotated[int, Field(ge=1)]
    """number of independent runs; run i draws from the streams (seed, i)"""
