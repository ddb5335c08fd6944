"""Print the ISO 3166-1 country codes with their English names: `python names.py > countries.json`.

Codes and names are those of the Unicode CLDR, as the package Babel has them.
"""

import json
import sys

from babel import Locale
from babel.core import get_global

# Numbers from here on are not ISO's but free for users, such as Kosovo's 983.
USER_ASSIGNED = 900
NOT_ISO = {"XK"}
# Codes of address databases that are not countries.
NOT_A_COUNTRY = {
    "": "Not known",
    "A1": "Anonymous proxy",
    "A2": "Satellite provider",
    "AP": "Asia/Pacific region",
    "EU": "Europe, country not known",
    "O1": "Other country",
    "T1": "Tor network",
}


def main() -> None:
    """Write the codes by ISO number, the names of these codes, and the names of codes that are not countries."""
    territories = Locale("en").territories
    numbers = {
        number: codes[0]
        for number, codes in sorted(get_global("territory_aliases").items())
        # A number with several codes is that of a former country.
        if number.isdigit() and int(number) < USER_ASSIGNED and len(codes) == 1 and codes[0] in territories
    }
    names = {code: territories[code] for code in sorted({*numbers.values(), *NOT_ISO})}
    tables = {"numbers": numbers, "names": names, "not_a_country": NOT_A_COUNTRY}
    json.dump(tables, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
