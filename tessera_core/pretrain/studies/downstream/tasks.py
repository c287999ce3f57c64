"""The six tasks by name."""

from __future__ import annotations

from tessera_core.pretrain.studies.downstream import biomass, burned, canopy, crops, pastis, trees
from tessera_core.pretrain.studies.downstream.framework import Task

TASKS: dict[str, Task] = {one.TASK.name: one.TASK for one in (crops, trees, pastis, biomass, canopy, burned)}
