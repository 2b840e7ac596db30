"""English words by what they are for: kinds and what they can do, places, causes, properties.

All are common nouns, adjectives and verbs of one word. What follows "a" begins with a consonant, so that an article
does not give an answer away. No name is among them: names are new (`eif_lab.data.worlds.names`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product

from numpy.random import Generator

Words = tuple[str, ...]

LIVING: Mapping[str, Mapping[str, str]] = {
    "mammal": {
        "dog": "bark",
        "monkey": "climb",
        "kangaroo": "hop",
        "bat": "fly",
        "beaver": "build",
        "cow": "graze",
        "dolphin": "swim",
        "horse": "run",
        "rabbit": "jump",
        "wolf": "hunt",
    },
    "bird": {
        "hawk": "hunt",
        "penguin": "swim",
        "parrot": "talk",
        "sparrow": "sing",
        "pigeon": "fly",
    },
    "bug": {"bee": "sting", "mosquito": "bite", "beetle": "crawl"},
}
"""Kinds of what lives, each with what it can do."""

MADE: Mapping[str, Mapping[str, str]] = {
    "tool": {"knife": "cut", "pen": "write", "brush": "paint", "shovel": "dig", "spoon": "stir", "hammer": "pound"},
    "vehicle": {"plane": "fly", "boat": "sail", "rocket": "launch", "car": "drive", "truck": "haul"},
    "device": {
        "phone": "ring",
        "clock": "tick",
        "camera": "record",
        "lamp": "shine",
        "computer": "calculate",
        "fan": "spin",
        "scale": "weigh",
    },
    "weapon": {"gun": "shoot", "bomb": "explode", "cannon": "fire"},
}
"""Kinds of what is made, each with what it can do."""

ALSO_ABLE: Mapping[str, Words] = {
    "dog": ("run", "jump", "swim", "hunt", "dig"),
    "monkey": ("jump", "run"),
    "kangaroo": ("jump", "run"),
    "bat": ("hunt",),
    "beaver": ("swim", "dig"),
    "cow": ("run",),
    "dolphin": ("jump", "hunt"),
    "horse": ("jump", "swim", "haul", "graze"),
    "rabbit": ("run", "hop", "dig", "graze"),
    "wolf": ("run", "jump", "swim", "dig"),
    "hawk": ("fly",),
    "penguin": ("hunt",),
    "parrot": ("fly", "sing"),
    "sparrow": ("fly",),
    "bee": ("crawl",),
    "plane": ("climb",),
    "rocket": ("fly", "climb", "explode"),
    "car": ("run", "haul"),
    "truck": ("run", "drive"),
    "phone": ("record", "calculate", "talk"),
    "computer": ("record", "talk", "write"),
    "clock": ("ring",),
    "gun": ("fire", "explode"),
    "cannon": ("shoot", "explode"),
}
"""What a kind can do as well: it is in no world in which another kind is the one that can."""

NATURAL_KINDS: Mapping[str, Mapping[str, Words]] = {
    "mammal": {
        "dog": ("poodle", "beagle", "terrier"),
        "horse": ("pony", "mustang", "stallion"),
        "bear": ("grizzly", "panda"),
        "monkey": ("baboon", "macaque"),
        "deer": ("moose", "elk", "reindeer"),
    },
    "creature": {
        "bird": ("robin", "sparrow", "eagle", "hawk"),
        "fish": ("trout", "salmon", "tuna", "cod"),
        "snake": ("cobra", "python", "viper"),
        "bug": ("beetle", "ant", "cricket"),
    },
    "plant": {"tree": ("oak", "pine", "maple", "willow"), "flower": ("rose", "tulip", "daisy", "lily")},
    "person": {
        "scientist": ("chemist", "physicist", "biologist"),
        "musician": ("pianist", "drummer", "guitarist"),
        "doctor": ("surgeon", "dentist", "pediatrician"),
        "soldier": ("sniper", "sergeant", "paratrooper"),
    },
}
"""Kinds of what is not made, each with its members."""

MADE_KINDS: Mapping[str, Mapping[str, Words]] = {
    "vehicle": {
        "car": ("sedan", "taxi", "convertible"),
        "boat": ("canoe", "kayak", "yacht", "ferry"),
        "plane": ("jet", "bomber", "glider"),
    },
    "building": {
        "house": ("cottage", "mansion", "cabin"),
        "church": ("cathedral", "chapel"),
        "hotel": ("motel", "hostel"),
    },
    "garment": {
        "hat": ("beret", "bonnet", "cap"),
        "shoe": ("boot", "sandal", "sneaker"),
        "coat": ("jacket", "parka", "raincoat"),
    },
    "weapon": {"gun": ("pistol", "rifle", "revolver", "shotgun"), "bomb": ("grenade", "torpedo")},
}
"""Kinds of what is made, each with its members."""

OTHER_KINDS = ("chair", "table", "pillow", "bottle", "basket", "carpet")
"""Kinds that are in no world: neutral statements are about them."""

PLACES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Europe": (
        ("Paris", "France"),
        ("Berlin", "Germany"),
        ("Madrid", "Spain"),
        ("Rome", "Italy"),
        ("Athens", "Greece"),
        ("Warsaw", "Poland"),
        ("Lisbon", "Portugal"),
        ("Budapest", "Hungary"),
        ("Dublin", "Ireland"),
        ("Stockholm", "Sweden"),
        ("Helsinki", "Finland"),
        ("Zurich", "Switzerland"),
    ),
    "Asia": (
        ("Tokyo", "Japan"),
        ("Beijing", "China"),
        ("Seoul", "Korea"),
        ("Mumbai", "India"),
        ("Tehran", "Iran"),
        ("Baghdad", "Iraq"),
        ("Kabul", "Afghanistan"),
    ),
    "Africa": (("Cairo", "Egypt"), ("Nairobi", "Kenya"), ("Tunis", "Tunisia")),
    "America": (
        ("Chicago", "Illinois"),
        ("Boston", "Massachusetts"),
        ("Houston", "Texas"),
        ("Miami", "Florida"),
        ("Denver", "Colorado"),
        ("Detroit", "Michigan"),
        ("Phoenix", "Arizona"),
        ("Cleveland", "Ohio"),
    ),
}
"""Cities, and the country or state that each is in, by the part of the world."""

OTHER_PLACES = ("Peru", "Chile", "Cuba", "Fiji", "Haiti", "Bolivia")
"""Places that are in no world: neutral statements are about them."""

SUBSTANCES: Mapping[str, tuple[str, str]] = {
    "wet": ("water", "sweat"),
    "dirty": ("mud", "dust"),
    "sticky": ("glue", "gum"),
    "cold": ("ice", "snow"),
    "hot": ("steam", "lava"),
    "sweet": ("sugar", "honey"),
    "slippery": ("oil", "grease"),
    "shiny": ("gold", "silver"),
    "red": ("blood", "wine"),
    "black": ("coal", "soot"),
    "white": ("chalk", "flour"),
    "green": ("grass", "moss"),
    "spicy": ("pepper", "chili"),
    "radioactive": ("uranium", "plutonium"),
    "fragrant": ("perfume", "lavender"),
    "flammable": ("gasoline", "alcohol"),
    "soft": ("wool", "cotton"),
    "clean": ("soap", "bleach"),
}
"""What a thing is that is covered in a substance, with two such substances."""

OVERLAPPING_EFFECTS = (
    {"wet", "slippery", "cold", "hot", "red", "black", "flammable", "clean", "fragrant"},
    {"dirty", "sticky", "slippery", "black", "clean", "white", "wet"},
    {"sweet", "sticky", "fragrant", "red"},
    {"white", "cold", "wet"},
    {"hot", "spicy", "red", "radioactive", "sticky"},
    {"shiny", "slippery", "clean"},
    {"green", "soft", "fragrant", "wet"},
    {"white", "soft", "clean"},
    {"flammable", "clean", "fragrant", "black", "hot"},
)
"""Of each of these sets one effect at most is in a world: what causes one may cause another, or prevent it."""

OTHER_SUBSTANCES = ("foam", "paper", "plastic", "leather", "sand", "wax")
"""Substances that are in no world: neutral statements are about them."""

COLOURS = ("red", "blue", "green", "black", "white", "yellow", "purple", "pink", "brown")
SHAPES = ("cube", "ball", "ring", "cone", "star", "disk", "pyramid", "cylinder", "triangle", "square")
OTHER_LOOKS = (("wooden", "spoon"), ("plastic", "box"), ("metal", "plate"), ("paper", "tube"))
"""A property and a shape that are in no world: neutral statements are about them."""

STRONGER: Mapping[str, tuple[tuple[str, str], ...]] = {
    "temperature": (("freezing", "cold"), ("boiling", "hot")),
    "moisture": (("soaked", "wet"),),
    "size": (("tiny", "small"), ("enormous", "large")),
    "age": (("ancient", "old"),),
    "wit": (("hilarious", "funny"),),
    "looks": (("gorgeous", "beautiful"),),
    "colour": (("scarlet", "red"),),
    "mood": (("furious", "angry"), ("terrified", "scared")),
    "danger": (("deadly", "dangerous"),),
    "worth": (("priceless", "valuable"),),
    "hunger": (("starving", "hungry"),),
    "mind": (("brilliant", "smart"),),
}
"""Adjectives of which the first says more than the second, and so implies it, by what they are about."""

OPPOSITES: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("open", "closed"),
        ("wet", "dry"),
        ("clean", "dirty"),
        ("full", "empty"),
        ("real", "fake"),
        ("raw", "cooked"),
        ("public", "private"),
    ),
    (("male", "female"), ("married", "single"), ("guilty", "innocent"), ("dead", "alive"), ("rich", "poor")),
    (("asleep", "awake"), ("male", "female"), ("married", "single"), ("guilty", "innocent"), ("sick", "healthy")),
)
"""Pairs of which a thing is one or the other, in groups of what a thing can be asked about together."""

OTHER_PROPERTIES = ("famous", "useful", "modern", "local", "popular", "normal")
"""Adjectives that are in no world: neutral statements are about them."""


def balanced(options: Iterable[Words], random: Generator) -> Iterator[Words]:
    """The options, each once, in an order in which all words come about equally often; ties are drawn."""
    every = list(options)
    left = [every[place] for place in random.permutation(len(every))]
    uses: Counter[str] = Counter()
    while left:
        chosen = min(left, key=lambda words: sum(uses[word] for word in words))
        left.remove(chosen)
        uses.update(chosen)
        yield chosen


def kinds_with_abilities() -> list[Words]:
    """Two superkinds, two kinds under the first and two under the second, and what each can do."""
    living, made = (
        [(top, pair, (able[pair[0]], able[pair[1]])) for top, able in kinds.items() for pair in combinations(able, 2)]
        for kinds in (LIVING, MADE)
    )
    return [
        (top, other, *pair, *others, *able, *other_able)
        for (top, pair, able), (other, others, other_able) in product(living, made)
        if len({*able, *other_able}) == len((*able, *other_able))
        and not any({*able, *other_able}.intersection(ALSO_ABLE.get(kind, ())) for kind in (*pair, *others))
    ]


def pairs_of_members(kinds: Mapping[str, Mapping[str, Words]]) -> list[Words]:
    """A superkind, two kinds under it, and a member of each."""
    return [
        (superkind, one, other, *members)
        for superkind, of_kind in kinds.items()
        for one, other in combinations(of_kind, 2)
        for members in product(of_kind[one], of_kind[other])
    ]


def chains_of_places() -> list[Words]:
    """Two chains of a city, what it is in, and the part of the world."""
    return [
        (*one, part, *other, elsewhere)
        for part, elsewhere in combinations(PLACES, 2)
        for one, other in product(PLACES[part], PLACES[elsewhere])
    ]


def effects(count: int) -> list[Words]:
    """So many effects that have no cause in common."""
    return [
        chosen
        for chosen in combinations(SUBSTANCES, count)
        if all(len(one.intersection(chosen)) < 2 for one in OVERLAPPING_EFFECTS)
    ]


def implications(count: int) -> list[Words]:
    """So many stronger adjectives about different things, then what they imply."""
    return [
        tuple(word for words in zip(*pairs) for word in words)
        for about in combinations(STRONGER.values(), count)
        for pairs in product(*about)
    ]


def opposites(count: int) -> list[Words]:
    """So many adjectives, then the opposite of each."""
    chosen = {pairs: None for group in OPPOSITES for pairs in combinations(group, count)}
    return [tuple(word for words in zip(*pairs) for word in words) for pairs in chosen]


def in_turn(words: Sequence[str], number: int) -> str:
    """The word for the world of that number."""
    return words[number % len(words)]
