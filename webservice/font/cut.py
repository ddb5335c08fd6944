"""Cut the font of the reports out of Source Sans 3: `npm install && python cut.py`.

README.md says which packages it needs. Two runs with the same packages write the same bytes.
"""

from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "node_modules/source-sans/VF/SourceSans3VF-Upright.ttf"
CUT = HERE.parent / "eida_stats_webservice/reports/data/eida-sans.woff2"

# The name "Source" is reserved: the licence wants another one for a changed font.
FAMILY = "EIDA Sans"
# Regular, semibold, and all weights between them. Regular is the default.
WEIGHTS = (400, 400, 600)
CHARACTERS = {
    *range(0x20, 0x7F),  # Basic Latin
    *range(0xA0, 0x180),  # Latin-1 Supplement, with no-break space, ± × ·, and Latin Extended-A
    *map(ord, "ȘșȚț"),  # Romanian
    *map(ord, "–—‘’‚“”„†…"),
    *map(ord, "−≈↑→↓▲▼"),
    *map(ord, "\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}"),
}
# Figures of equal width need no feature: they are the default of this font.
FEATURES = ["ccmp", "kern", "liga"]

COPYRIGHT, FAMILY_NAME, STYLE, UNIQUE_ID, FULL_NAME, VERSION, POSTSCRIPT_NAME = range(7)
TRADEMARK, LICENCE, LICENCE_URL, POSTSCRIPT_PREFIX = 7, 13, 14, 25
KEPT_NAMES = [COPYRIGHT, STYLE, VERSION, TRADEMARK, LICENCE, LICENCE_URL]


def main() -> None:
    """Write the cut font."""
    # The time of the run must not get into the file.
    font = TTFont(SOURCE, recalcTimestamp=False)
    # Names of the weights would still have the reserved name, and CSS has no use for them.
    font["fvar"].instances = []
    subset(font)
    font = instancer.instantiateVariableFont(font, {"wght": WEIGHTS})
    rename(font)
    font.flavor = "woff2"
    font.save(CUT)


def subset(font: TTFont) -> None:
    """Remove all other characters, features, names and hints."""
    options = Options(hinting=False, layout_features=FEATURES, name_IDs=[*KEPT_NAMES], notdef_outline=True)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=CHARACTERS)
    subsetter.subset(font)


def rename(font: TTFont) -> None:
    """Set the names of the family."""
    names = font["name"]
    plain = FAMILY.replace(" ", "")
    own = {
        FAMILY_NAME: FAMILY,
        UNIQUE_ID: f"{names.getDebugName(VERSION)};{plain}",
        FULL_NAME: FAMILY,
        POSTSCRIPT_NAME: f"{plain}-Regular",
        POSTSCRIPT_PREFIX: plain,
    }
    for number, name in own.items():
        names.setName(name, number, platformID=3, platEncID=1, langID=0x409)


if __name__ == "__main__":
    main()
