"""Classes of clients by their names, and an operator's own classes."""

import contextlib
import pickle
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics import user_agents
from eida_statistics.errors import ConfigurationError, InvalidClientClasses
from eida_statistics.user_agents import compile_pattern, load_classes

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
ANDROID = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0.4280.101 Mobile Safari/537.36"

# Names of clients as programs send them. Each pattern of the built-in table knows one of them.
AGENTS: dict[str, list[str | None]] = {
    "monitor": [
        # libwww-perl is in the name of many programs, so it decides nothing.
        "IRISDMC DataCenterMeasure/2019.227 Perl/5.016003 libwww-perl/6.39",
        "IRISDMC DataCenterMeasure/2019.136 Perl/5.018004 libwww-perl/6.13",
        # IRISSeismic alone is a library of seismologists.
        "IRISSeismic/1.6.2 RCurl/1.98-1.5 R/4.1.1 x86_64-conda-linux-gnu (ISPAQ)",
        "IRISSeismic/1.5.2 RCurl/1.98-1.1 R/3.6.0 x86_64-pc-linux-gnu (MUSTANG)",
        "check_http/v2.3.1 (monitoring-plugins 2.3.1)",
        "check_http/v1.4.16 (nagios-plugins 1.4.16)",
        "check_curl/v2.3.3 (monitoring-plugins 2.3.3, libcurl/7.88.1 OpenSSL/3.0.11)",
        "checkmk-active-httpv2/2.3.0",
        "Zabbix",
        "Zabbix 6.0",
        "Blackbox Exporter/0.24.0",
        "Prometheus/2.45.0",
        "Monit/5.26.0",
        "munin/2.0.49 (libwww-perl/6.31)",
        "Xymon xymonnet/4.3.28",
        "Mozilla/5.0 (compatible; PRTG Network Monitor (www.paessler.com); Windows)",
        "Uptime-Kuma/1.23.11",
        "kube-probe/1.27",
        "Consul Health Check",
        # Robots, but not those of search engines.
        "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
        "Better Uptime Bot Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/98.0 Safari/537.36 StatusCake",
        "Site24x7",
        "Datadog/Synthetics",
        "NewRelicPinger/1.0 (1234567)",
        "HetrixTools Uptime Monitoring Bot. https://hetrix.tools/uptime-monitoring-bot.html",
        "updown.io daemon 2.9",
        "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)",
        "Mozilla/5.0 (compatible;Cloudflare-Healthchecks/1.0;+https://www.cloudflare.com/; healthcheck-id: 1)",
        "Amazon-Route53-Health-Check-Service (ref 1; report http://amzn.to/1vsZADi)",
        "ELB-HealthChecker/2.0",
        "EIDA data-quality robot 1.0",
        "check_fdsnws/1.2",
        "Nagios plugin for fdsnws",
    ],
    "scientific": [
        # Public lists of robots have ObsPy.
        "ObsPy/1.2.2 (Linux-4.15.0-112-generic-x86_64-with-Ubuntu-18.04-bionic, Python 3.7.4)",
        "ObsPy/1.4.0 (Windows-10-10.0.19045-SP0, Python 3.10.11)",
        "ObsPy 0.9.0rc1-13-ga884 (Linux-3.8.0-34-generic-x86_64-with-Ubuntu-13.04-raring, Python 2.7.4)",
        "somebody's chatbot (ObsPy/1.3.0)",
        "FetchData/2017.164 Perl/5.016003 libwww-perl/6.44",
        "FetchEvent/2014.340 Perl/5.018002 libwww-perl/6.05",
        "FetchMetadata/2020.038 Perl/5.030000 libwww-perl/6.43 (somebody)",
        "fdsnws_fetch/2020.198 (Linux 4.15.0-112-generic)",
        "rover/1.0.4 python-requests/2.22.0 Python/3.7.4",
        "IRIS-WS-Library/2.0.12",
        "MATLAB:irisFetch/2.0.6",
        "IRISSeismic/1.6.2 RCurl/1.98-1.5 R/4.1.1 x86_64-conda-linux-gnu (unidentified R script)",
        "SOD/3.2.6",
        "SeisFile/1.7.4",
        "SeisFile-2.0.0",
        "Swarm/2.5.9",
        # SeisComP's record stream, not the browser of 1993.
        "Mosaic/1.0",
        "EIDA-Federator/0.9.0",
        # Clients of a ringserver: SeedLink.
        "slinktool/5.0.0 libslink/4.3.0",
        "slarchive/4.0",
        "scolv/6.4.0 seedlink-client/0.2.0",
        "conv3/1 seedlink-client/0.2.0",
        "SeisComP/6.4.0",
        "scrttv/6.4.0",
        "libslink/4.3.0",
        "seedlink-client/0.2.0",
        # DataLink.
        "slink2dali:acq:1789:Linux (x86_64) rev 2:sysop:7967:Linux-6.1",
        "dali2ew:sysop:17:Linux-6.1",
        "dalitool:sysop:7421:Linux-6.1",
        "ew2ringserver:sysop:4242:linux",
        "mseedscan2dali:sysop:4242:Linux-6.1",
        "simpledali:sysop:9:python",
        "seisplotjs:anonymous:17:javascript",
    ],
    "crawler": [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; "
        "+http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
        "CCBot/2.0 (https://commoncrawl.org/faq/)",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
        "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
        "Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)",
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        "Mozilla/5.0 (Linux; Android 5.0) (compatible; Bytespider; spider-feedback@bytedance.com)",
        f"Mozilla/5.0 (Linux; Android 7.0;) {ANDROID} (compatible; PetalBot;+https://webmaster.petalsearch.com/)",
        "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
        "SISTRIX Crawler; http://crawler.sistrix.net/",
        "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
        "GoogleOther",
        "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)",
        "Mediapartners-Google",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "ia_archiver",
        "Mozilla/5.0 (compatible; heritrix/3.4.0 +https://example.org/)",
        "somebody/Nutch-1.18",
        "Mozilla/5.0 (compatible; Qwantify/2.4w; +https://www.qwant.com/)/2.4w",
        "Barkrowler/0.9 (+https://babbar.tech/crawler)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0; +https://openai.com/bot)",
        "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
        "Scrapy/2.5.0 (+https://scrapy.org)",
        "Mozilla/4.5 (compatible; HTTrack 3.0x; Windows 98)",
        "colly - https://github.com/gocolly/colly/v2",
        "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)",
        "Mozilla/5.0 (compatible; InternetMeasurement/1.0; +https://internet-measurement.com/)",
        "Mozilla/5.0 (compatible; NetcraftSurveyAgent/1.0; +info@netcraft.com)",
        "Expanse, a Palo Alto Networks company, searches across the global IPv4 space multiple times per day",
        "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
        "Mozilla/5.0 zgrab/0.x",
        "masscan/1.3 (https://github.com/robertdavidgraham/masscan)",
        "l9explore/1.2.2",
        "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
    ],
    "library": [
        "curl/7.68.0",
        "curl/7.29.0",
        "libcurl/7.68.0 r-curl/4.3 httr/1.4.2",
        "Wget/1.20.3 (linux-gnu)",
        "aria2/1.35.0",
        "Axel/2.17.10 (Linux)",
        # fdsnws_fetch and Pyrocko use it too, and cannot be distinguished.
        "python-requests/2.25.1",
        "Python-urllib/3.8",
        "Python/3.10 aiohttp/3.8.1",
        "python-httpx/0.24.1",
        "PycURL/7.43.0.6 libcurl/7.68.0 OpenSSL/1.1.1f zlib/1.2.11",
        "Twisted PageGetter",
        "HTTPie/2.4.0",
        "MATLAB 9.4.0.813654 (R2018a)",
        "R (4.0.2 x86_64-w64-mingw32 x86_64 mingw32)",
        "RStudio Desktop (2022.7.1.554); R (4.2.1 x86_64-w64-mingw32 x86_64 mingw32)",
        "httr2/0.2.3 r-curl/5.0.0 libcurl/7.88.1",
        "HTTP.jl/1.9.6",
        "libwww-perl/6.39",
        "somebody/1.0 libwww-perl/6.39",
        "HTTP-Tiny/0.076",
        "Java/1.8.0_292",
        "Java-http-client/17.0.1",
        "Apache-HttpClient/4.5.13 (Java/11.0.11)",
        "Jakarta Commons-HttpClient/3.1",
        "Jersey/2.35 (HttpUrlConnection 11.0.11)",
        "okhttp/4.9.3",
        "Dalvik/2.1.0 (Linux; U; Android 9; SM-G960F Build/PPR1.180610.011)",
        "Go-http-client/1.1",
        "Go 1.1 package http",
        "fasthttp",
        "axios/1.4.0",
        "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
        "node",
        "undici",
        "got (https://github.com/sindresorhus/got)",
        "Deno/1.37.0",
        "Dart/2.18 (dart:io)",
        "Ruby",
        "Faraday v1.0.1",
        "GuzzleHttp/7",
        "RestSharp/106.11.7.0",
        "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1682",
        "Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)",
        "Seismometer/12 CFNetwork/1408.0.4 Darwin/22.5.0",
        "PostmanRuntime/7.28.4",
        "insomnia/2021.5.3",
    ],
    "browser": [
        CHROME,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:109.0) Gecko/20100101 Firefox/115.0",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/16.5 Safari/605.1.15",
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",
        # Cubot makes telephones.
        f"Mozilla/5.0 (Linux; Android 10; CUBOT_X18_Plus) {ANDROID}",
        f"Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) {ANDROID}",
        "Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18",
    ],
    "other": [
        None,
        "",
        " ",
        "-",
        "unknown",
        # Words that begin or end like those of robots.
        "Bottle/0.12",
        "both ends",
        "Swarming/1.0",
        "roverlander",
        "NCSA_Mosaic/2.0",
        "pythonic",
        # Clients of a ringserver that send no name, or one that says nothing.
        "Client",
        "reader:sysop:7268:Linux-6.1",
        "my reader (beta 2):sysop:77:Windows 11",
        "pxclient/1.1",
        "slinktoolbox/1",
        "scope/1.0",
        "Javascript",
        "\udcff\udcfe",
        "地震データ",
        "\x00",
    ],
}
CASES = [(agent, name) for name, agents in AGENTS.items() for agent in agents]
BUILT_IN = Path(user_agents.__file__).with_name("client_classes.toml")
CLASSES = load_classes()


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return path


def entry(name: str, *patterns: str) -> str:
    return f"[[class]]\nname = '{name}'\npatterns = [{', '.join(map(repr, patterns))}]\n"


@pytest.mark.parametrize(("agent", "name"), CASES)
def test_name_decides_the_class(agent: str | None, name: str) -> None:
    assert CLASSES.classify(agent) == name
    assert CLASSES.classify(agent) == name


def test_each_pattern_matches_a_real_client() -> None:
    for each in tomllib.loads(BUILT_IN.read_text())["class"]:
        agents = [agent or "" for agent in AGENTS[each["name"]]]
        for text in each["patterns"]:
            pattern = compile_pattern(text)
            assert any(pattern.search(agent) for agent in agents), f"{each['name']}: {text}"


@pytest.mark.parametrize("agent", [*AGENTS["scientific"], *AGENTS["library"]])
def test_user_programs_are_not_robots(agent: str) -> None:
    # These two are what operators leave out of their statistics.
    assert CLASSES.classify(agent) not in ("monitor", "crawler")


def test_capitals_do_not_matter() -> None:
    assert CLASSES.classify("OBSPY/1.2.2") == CLASSES.classify("obspy/1.2.2") == "scientific"


def test_class_names_end_with_other() -> None:
    assert CLASSES.names == ("monitor", "scientific", "crawler", "library", "browser", "other")


def test_long_name_counts_by_its_beginning() -> None:
    classes = load_classes()
    assert classes.classify("curl/7.68.0 " + "x" * 10_000_000) == "library"
    assert classes.classify("x" * 10_000_000 + " ObsPy/1.2.2") == "other"


@given(st.none() | st.text(st.characters()) | st.binary().map(lambda name: name.decode("utf-8", "surrogateescape")))
def test_any_name_has_a_class(agent: str | None) -> None:
    name = CLASSES.classify(agent)
    assert name in CLASSES.names
    assert name == "other" or agent


def test_classes_go_to_other_processes(tmp_path: Path) -> None:
    classes = load_classes(table(tmp_path, entry("partner", r"(?P<who>x)-(?P=who)", "(?x) y  z")))
    before = [classes.classify(agent) for agent, _ in CASES]
    again = pickle.loads(pickle.dumps(classes))
    assert again.names == classes.names
    assert [again.classify(agent) for agent, _ in CASES] == before
    assert [again.classify(agent) for agent in ("x-x", "yz", "x-y")] == ["partner", "partner", "other"]


def test_operators_classes_come_first(tmp_path: Path) -> None:
    text = (
        entry("partner", "^ObsPy/1.2.2 .*bionic") + entry("monitor", "^curl/7.29.0$") + entry("crawler", "harvest")
    )
    classes = load_classes(table(tmp_path, text))
    assert classes.names == ("partner", "monitor", "crawler", "scientific", "library", "browser", "other")
    assert classes.classify("ObsPy/1.2.2 (Linux-4.15.0-112-generic-x86_64-with-Ubuntu-18.04-bionic)") == "partner"
    assert classes.classify("ObsPy/1.2.2 (Windows)") == "scientific"
    # A class that there is gets what the operator adds, and keeps what it has.
    assert classes.classify("curl/7.29.0") == "monitor"
    assert classes.classify("curl/7.68.0") == "library"
    assert classes.classify("check_http/v2.3.1 (monitoring-plugins 2.3.1)") == "monitor"
    assert classes.classify("Wget/1.20.3 harvester") == "crawler"


def test_first_matching_class_wins(tmp_path: Path) -> None:
    classes = load_classes(table(tmp_path, entry("one", "b") + entry("two", "a", "c") + entry("one", "a", "d")))
    assert classes.names[:2] == ("one", "two")
    assert [classes.classify(agent) for agent in ("xaby", "xay", "xcdy", "xdy")] == ["one", "two", "two", "one"]


@pytest.mark.parametrize(
    ("patterns", "known", "unknown"),
    [
        # Joined to one pattern they would be refused, or mean another group.
        ([r"(?P<a>x)(?P=a)", r"(?P<a>y)(?P=a)"], ["xx", "yy"], ["xy", "x"]),
        ([r"(a)(b)", r"(c|d)\1"], ["ab", "cc", "dd"], ["cd", "ca"]),
        ([r"(a)?b(?(1)c|d)", r"(e)"], ["abc", "bd", "e"], ["bx"]),
        ([r"(?i)one", r"two"], ["One", "TWO"], ["three"]),
        ([r"one", r"(?x) t w o  # a comment", r"three"], ["one", "two", "three"], ["t w o", "four"]),
        ([r"(?s)a.b", r"c.d"], ["a\nb", "c-d"], ["c\nd"]),
        # Anchors stay with their own alternative.
        ([r"^a|b$", r"c"], ["ax", "xb", "xcx"], ["xa", "bx"]),
        ([r"(?-i:Bot)", r"spider"], ["aBot", "SPIDER"], ["abot"]),
        ([r"x(?#)", r"[(]", r"\)"], ["x", "(", ")"], ["y"]),
    ],
)
def test_patterns_of_a_class_are_independent(
    tmp_path: Path, patterns: list[str], known: list[str], unknown: list[str]
) -> None:
    path = tmp_path / "own.toml"
    texts = ", ".join(f"'''{text}'''" for text in patterns)
    path.write_text(f"[[class]]\nname = 'own'\npatterns = [{texts}]\n")
    classes = load_classes(path)
    assert [classes.classify(agent) for agent in known] == ["own"] * len(known)
    assert "own" not in [classes.classify(agent) for agent in unknown]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[class]]\nname = monitor\n", "not TOML: .*line 2"),
        ("[[class]]\nname = 'a'\nname = 'b'\n", "not TOML: .*line 3"),
        ("a = " + "[" * 5000, "nested too deeply|not TOML"),
        ("", "class: missing"),
        ("class = []", "class: not a list"),
        ("[class]\nname = 'a'\npatterns = ['a']\n", "class: not a list"),
        ("class = ['a']", "class 1: not an object"),
        ("[[classes]]\nname = 'a'\npatterns = ['a']\n", "classes: unknown"),
        (entry("a", "a") + "[[class]]\nname = 'b'\npattern = ['b']\n", "class 2, pattern: unknown"),
        ("[[class]]\npatterns = ['a']\n", "class 1, name: missing"),
        ("[[class]]\nname = 'a'\n", "class 1, patterns: missing"),
        ("[[class]]\nname = 5\npatterns = ['a']\n", "class 1, name: not up to 40 small letters"),
        *(
            (entry(name, "a"), "class 1, name: not up to 40 small letters, digits and hyphens")
            for name in ("", "Monitor", "1st", "-a", "a b", "a_b", "ä", "a\\n", "a" * 41)
        ),
        (entry("a", "a") + entry("other", "b"), "class 2, name: other is for clients that are in no class"),
        ("[[class]]\nname = 'a'\npatterns = 'a'\n", "class 1, patterns: not a list"),
        ("[[class]]\nname = 'a'\npatterns = ['a', 5]\n", "class 1, patterns 2: not a text"),
        (entry("a"), "class 1, patterns: not a list"),
        (entry("a", "fine", "(b"), r"class a, pattern '\(b': missing \), unterminated subpattern at position 0"),
        (entry("a", "b", "*"), r"class a, pattern '\*': nothing to repeat at position 0"),
        (
            entry("a", "x{99999999999999}"),
            "class a, pattern '.*': the repetition number is too large",
        ),
        (entry("a", "(" * 5000 + ")" * 5000), "class a, pattern '.*': maximum recursion depth"),
        (entry("a", "[[:alpha:]]"), r"class a, pattern '.*': Possible nested set at position 1"),
        *(
            (entry("a", "b", pattern), "class a, pattern '.*': matches the empty string")
            for pattern in ("", "a*", "a|", "^", "$", "^$", "(?!Mozilla)", "(?i)")
        ),
    ],
)
def test_bad_table_is_explained(tmp_path: Path, text: str, told: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(InvalidClientClasses, match=told) as refusal:
        load_classes(path)
    assert refusal.value.subject.startswith(f"{path}: ")
    # The messages of msgspec are for programmers.
    assert not re.search(r"[$`]\.|`|regex", str(refusal.value))


def test_unreadable_class_table_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"# caf\xe9")
    with pytest.raises(InvalidClientClasses, match=r"own\.toml: not UTF-8 text"):
        load_classes(path)
    with pytest.raises(InvalidClientClasses, match=r"missing\.toml: No such file"):
        load_classes(tmp_path / "missing.toml")
    with pytest.raises(InvalidClientClasses, match="Is a directory"):
        load_classes(tmp_path)


def test_bad_class_table_exits_with_2(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_classes(table(tmp_path, ""))
    assert refusal.value.exit_code == 2
    assert str(refusal.value).startswith("This is not a table of client classes: ")
    assert "[[class]]" in refusal.value.hint


def test_pattern_is_searched_without_case() -> None:
    pattern = compile_pattern(r"harvest(er)?/\d")
    assert pattern.pattern == r"harvest(er)?/\d"
    assert pattern.search("my Harvester/2")
    assert not pattern.search("Harvester")


def test_pattern_may_match_nameless_clients() -> None:
    assert compile_pattern("^$").search("")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(a", "missing ), unterminated subpattern at position 0"),
        ("a**", "multiple repeat at position 2"),
        ("a(?i)", "global flags not at the start of the expression at position 1"),
        ("[[a]", "Possible nested set at position 1"),
        # An empty variable of a shell would leave out everybody.
        ("", "matches the empty string, and so every client"),
        (".*", "matches the empty string, and so every client"),
        ("curl|", "matches the empty string, and so every client"),
        ("\udcff", "not UTF-8 text"),
    ],
)
def test_bad_pattern_is_refused_with_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:
        compile_pattern(text)
    assert str(refusal.value) == reason


@given(st.text(st.characters(), max_size=30))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        pattern = compile_pattern(text)
        assert pattern.search("") is None or pattern.search("\0") is None


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = table(tmp_path, "")
    path.write_text("[[class]]\nname = 'own'\npatterns = ['^mine/']\n", encoding="utf-8-sig")
    assert load_classes(path).classify("mine/1") == "own"
