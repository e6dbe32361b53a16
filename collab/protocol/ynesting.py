"""How deep shared types nest in a document, from the update that holds all of it.

yrs and Yjs delete and collect nested types recursively, so the depth is bounded (`collab.document`). It cannot be
seen in one update: a chain can be built one level a message. The walk here is iterative, and linear but for one
binary search per struct.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from collab.protocol.lib0 import read_var_uint
from collab.protocol.yupdate import parse_update

_ROOT: Final = -1


def nesting(content: bytes) -> int:
    """Depth of the deepest struct: 0 for those of root types, one more for those of a type that is such a struct.

    Raises:
        InvalidUpdate: `content` is malformed.
    """
    above, deeper = _parents(content)
    depths = [-1] * len(above)
    for start in range(len(above)):
        path = []
        place = start
        while place != _ROOT and depths[place] < 0:
            # Marked before its depth is known, so that what refers to itself ends.
            depths[place] = 0
            path.append(place)
            place = above[place]
        depth = 0 if place == _ROOT else depths[place]
        for place in reversed(path):
            depth += deeper[place]
            depths[place] = depth
    return max(depths, default=0)


def _parents(content: bytes) -> tuple[list[int], list[bool]]:
    """For each struct the place of the one that tells its parent, and whether that one is the parent itself."""
    sections = parse_update(content).sections
    starts = {section.client: [struct.clock for struct in section.structs] for section in sections}
    offsets: dict[int, int] = {}
    total = 0
    for section in sections:
        offsets[section.client] = total
        total += len(section.structs)
    above: list[int] = []
    deeper: list[bool] = []
    for section in sections:
        for struct in section.structs:
            head = struct.head
            place = _ROOT
            if head.lastindex is not None:
                client = read_var_uint(head[2], 0)[0]
                index = bisect_right(starts.get(client, ()), read_var_uint(head[3], 0)[0]) - 1
                if index >= 0:
                    place = offsets[client] + index
            above.append(place)
            deeper.append(place != _ROOT and head[0][0] < 0x40)
    return above, deeper
