"""Tables of positions: the published networks have a vector for each patch of an image of one size."""

from torch import Tensor


def look_up(table: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Positions (N, D) of the patches of a grid (T', H', W'), from a table (frames, rows, columns, D) of at least as
    many frames. Raises ValueError for another height or width, or more frames."""
    frames, *size = table.shape[:3]
    if grid[0] > frames or list(grid[1:]) != size:
        raise ValueError(
            f"this model has positions for {frames} × {size[0]} × {size[1]} patches (time, height, width), "
            f"not for {grid[0]} × {grid[1]} × {grid[2]}; give it a video of that size"
        )
    return table[: grid[0]].flatten(0, 2)
