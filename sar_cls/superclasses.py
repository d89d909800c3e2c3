"""Which classes are kinds of the same thing: CIFAR-100's superclasses, and the families in the names of CUB-200's birds."""

from __future__ import annotations

from collections.abc import Sequence

# Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images": twenty superclasses of five classes each.
CIFAR100_SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}


def superclasses_of(dataset: str, class_names: Sequence[str]) -> list[int] | None:
    """The number of the superclass of each class.

    CIFAR-100's are the published ones. CUB-200's are read from the names, our reading: the last word of a bird's name is its
    kind, as in ``001.Black_footed_Albatross`` (70 kinds among the 200 classes; 25 of the birds are alone in theirs).

    Args:
        dataset: ``"cifar100"`` or ``"cub200"``.
        class_names: in the order of the labels.

    Returns:
        One number for each class, from 0; None for a data set without superclasses, or for CIFAR-100 with other names.
    """
    if dataset == "cifar100":
        homes = {name: home for home, names in enumerate(CIFAR100_SUPERCLASSES.values()) for name in names}
        found = [homes.get(name) for name in class_names]
        return None if None in found else [home for home in found if home is not None]
    if dataset == "cub200":
        kinds = [name.replace("_", " ").split()[-1].lower() for name in class_names]
        numbers = {kind: index for index, kind in enumerate(dict.fromkeys(kinds))}
        return [numbers[kind] for kind in kinds]
    return None
