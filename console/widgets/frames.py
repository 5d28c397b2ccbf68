"""Panes side by side without a box around a box: a rule above each, an edge between two, joined where they meet.

Pure geometry, no drawing: a screen says which boxes it has, `frames` says which character joins each rule and edge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# (up, down, left, right) -> the character with these arms
_JOINTS = {
    (True, True, False, False): "│",
    (False, False, True, True): "─",
    (False, True, True, True): "┬",
    (True, False, True, True): "┴",
    (True, True, True, True): "┼",
    (True, True, True, False): "┤",
    (True, True, False, True): "├",
    (False, True, False, True): "┌",
    (False, True, True, False): "┐",
    (True, False, False, True): "└",
    (True, False, True, False): "┘",
}


@dataclass(frozen=True, slots=True)
class Box:
    """One pane's place in cells. `rule` is its first row, `edge` its first column where it has one."""

    name: str
    x: int
    y: int
    width: int
    height: int
    edge: bool = False
    rule: bool = True

    @property
    def inner_width(self) -> int:
        """Return the cells left for text: a blank at each side, and the edge."""
        return max(0, self.width - 2 - self.edge)

    @property
    def inner_height(self) -> int:
        return max(0, self.height - self.rule)


@dataclass(frozen=True, slots=True)
class Frame:
    """A box and its joints, counted from its corner: column in the rule or row in the edge -> character."""

    box: Box
    in_rule: Mapping[int, str] = field(default_factory=dict)
    in_edge: Mapping[int, str] = field(default_factory=dict)


def _joint(boxes: Sequence[Box], x: int, y: int) -> str:
    """Return the character at a cell that a rule or an edge covers. An edge reaches up to its own box's rule only."""
    edges = [box for box in boxes if box.edge and box.x == x]
    ruled, ruled_left, ruled_right = (
        any(box.rule and box.y == y and box.x <= column < box.x + box.width for box in boxes)
        for column in (x, x - 1, x + 1)
    )
    up = any(box.y < y <= box.y + box.height for box in edges)
    down = any(box.y <= y < box.y + box.height - 1 for box in edges)
    if not ruled:
        up = down = True
    return _JOINTS.get((up, down, ruled_left, ruled_right), "─" if ruled else "│")


def frames(boxes: Sequence[Box]) -> list[Frame]:
    """Return each box with the joints where its rule or its edge meets those of others."""
    columns = {box.x for box in boxes if box.edge}
    made = []
    for box in boxes:
        in_rule = {}
        if box.rule:
            for x in columns:
                if box.x <= x < box.x + box.width and (joint := _joint(boxes, x, box.y)) != "─":
                    in_rule[x - box.x] = joint
        in_edge = {}
        if box.edge:
            for y in range(box.y + box.rule, box.y + box.height):
                if (joint := _joint(boxes, box.x, y)) != "│":
                    in_edge[y - box.y] = joint
        made.append(Frame(box, in_rule, in_edge))
    return made
