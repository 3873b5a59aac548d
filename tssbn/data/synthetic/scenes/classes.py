"""The classes of Cityscapes, in the order of its train ids, and its seven categories."""

__all__ = ["CATEGORIES", "CATEGORY", "CLASSES", "LABEL"]

CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
LABEL = {name: index for index, name in enumerate(CLASSES)}
CATEGORIES = ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
#: The category of each class: road and sidewalk are flat, and so on.
CATEGORY = (*(0,) * 2, *(1,) * 3, *(2,) * 3, *(3,) * 2, 4, *(5,) * 2, *(6,) * 6)
