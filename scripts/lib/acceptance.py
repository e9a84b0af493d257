"""What a benchmark is to show. Each aim is judged on the pairs that were measured."""
import math
from dataclasses import dataclass

KB, MB, MIB = 1000, 1_000_000, 1 << 20
LARGE_BEST_PEER_BYTES = 100 * KB        # below, fixed costs rule
PACKAGING_BYTES = 4096                  # config, manifest and tar headers of a saved file
SMALL_PAIR_BYTES = MB
BUDGET_SLACK_BYTES = 40 * MB
SIZE_AIM_BYTES = {"debian-security": 1_500_000}
# CPU seconds of balenaEngine 20.10.44 loading its own delta, on a machine of this kind.
ENGINE_LOAD_SECONDS = {"debian-security": 7.8, "python-app": 3.5, "app-only": 1.2}


@dataclass
class Line:
    """One aim: what was found, whether that is good enough (None: nothing to judge it by), on how many pairs."""
    aim: str
    found: str
    passed: bool | None


def judge(results):
    facts = [PairFacts(name, pair) for name, pair in results["pairs"].items()]
    large = [x for x in facts if x.best and x.best > LARGE_BEST_PEER_BYTES]
    small = [x for x in facts if x.best and x.best <= LARGE_BEST_PEER_BYTES]
    return [
        each("`default` is smaller than the best peer, pairs whose best peer is above 100 KB",
             large, lambda x: ratio(x.size("default"), x.best), below(1)),
        mean("geometric mean of `default` ÷ best peer ≤ 0.60, the same pairs",
             large, lambda x: ratio(x.size("default"), x.best), 0.60),
        mean("geometric mean of `best` ÷ best peer ≤ 0.50, the same pairs",
             large, lambda x: ratio(x.size("best"), x.best), 0.50),
        mean("geometric mean of `default` ÷ librsync with gzip -6 ≤ 0.20, the same pairs",
             large, lambda x: ratio(x.size("default"), x.size("librsync")), 0.20),
        each("`default` of debian-security ≤ 1.5 MB",
             [x for x in facts if x.name in SIZE_AIM_BYTES], lambda x: x.size("default"),
             lambda value, x: value <= SIZE_AIM_BYTES[x.name], "{:,} bytes"),
        each("`default` ≤ best peer + 4 KiB, the other pairs",
             small, lambda x: difference(x.size("default"), x.best), at_most(PACKAGING_BYTES), "{:+,} bytes"),
        each("CPU time of `default` ≤ that of hdiffpatch",
             facts, lambda x: ratio(x.create("default", "cpu_seconds"), x.create("hdiffpatch", "cpu_seconds")),
             at_most(1)),
        each("peak RSS of `default` and `best` ≤ 512 + 40 MB",
             facts, lambda x: most(x.create("default", "peak_rss_bytes"), x.create("best", "peak_rss_bytes")),
             at_most(512 * MB + BUDGET_SLACK_BYTES), "{:,.0f} bytes"),
        each("with `--memory 64M`: peak RSS ≤ 64 + 40 MB",
             facts, lambda x: x.create("64M", "peak_rss_bytes"), at_most(64 * MB + BUDGET_SLACK_BYTES),
             "{:,.0f} bytes"),
        each("CPU time of `fast` ≤ that of xdelta3",
             facts, lambda x: ratio(x.create("fast", "cpu_seconds"), x.create("xdelta3", "cpu_seconds")), at_most(1)),
        each("`fast` is smaller than xdelta3, pairs whose best peer is above 100 KB",
             large, lambda x: ratio(x.size("fast"), x.size("xdelta3")), below(1)),
        mean("geometric mean of `balena` ÷ librsync with gzip -6 ≤ 0.60, pairs with new layers above 1 MB",
             [x for x in facts if not x.is_small], lambda x: ratio(x.size("balena"), x.size("librsync")), 0.60),
        each("`balena` ≤ 0.85 of that on each of them",
             [x for x in facts if not x.is_small], lambda x: ratio(x.size("balena"), x.size("librsync")),
             at_most(0.85)),
        each("`balena` is not larger on the small ones (4 KiB for packaging)",
             [x for x in facts if x.is_small], lambda x: difference(x.size("balena"), x.size("librsync")),
             at_most(PACKAGING_BYTES), "{:+,} bytes"),
        golden(results["golden"]),
        each("`rdiff patch` of `balena` takes ≤ 1.5 × the CPU time of librsync's own delta",
             [x for x in facts if not x.is_small], lambda x: x.rdiff_ratio(), at_most(1.5)),
        each("applying `default`: peak RSS ≤ 24 MiB",
             facts, lambda x: x.apply("default", "peak_rss_bytes"), at_most(24 * MIB), "{:,.0f} bytes"),
        each("applying `default`: CPU time ≤ half of balenaEngine's (recorded: debian-security 7.8 s, "
             "python-app 3.5 s, app-only 1.2 s)",
             [x for x in facts if x.name in ENGINE_LOAD_SECONDS],
             lambda x: ratio(x.apply("default", "cpu_seconds"), ENGINE_LOAD_SECONDS[x.name]), at_most(0.5)),
        each("the same bytes with 1, 2 and 8 threads",
             facts, lambda x: x.same_for_all_jobs, lambda value, x: value, "{}"),
        *growth(results["growth"]),
    ]


class PairFacts:
    """What is known of one pair; everything may be missing."""

    def __init__(self, name, pair):
        self.name, self.pair = name, pair
        self.outcomes = {**pair["peers"], **pair["silt"]}
        sizes = [x["delta_bytes"] for x in pair["peers"].values() if not x["problem"]]
        self.best = min(sizes, default=None)
        self.is_small = pair["new_bytes"] < SMALL_PAIR_BYTES
        self.same_for_all_jobs = pair["same_for_all_jobs"]

    def good(self, program):
        outcome = self.outcomes.get(program)
        return outcome if outcome and not outcome["problem"] else {}

    def size(self, program):
        return self.good(program).get("delta_bytes")

    def create(self, program, what):
        return self.good(program).get("create", {}).get(what)

    def apply(self, program, what):
        return self.good(program).get("apply", {}).get(what)

    def rdiff_ratio(self):
        ours = self.good("balena").get("rdiff_patch", {}).get("cpu_seconds")
        theirs = self.apply("librsync", "cpu_seconds_of_steps")
        return ratio(ours, theirs and theirs[-1])


def each(aim, pairs, value_of, is_good, form="{:.2f}"):
    """An aim that every pair has to reach. Shows the values of those that do not, or else the worst."""
    values = [(x, value_of(x)) for x in pairs]
    values = [(x, value) for x, value in values if value is not None]
    if not values:
        return Line(aim, "not measured", None)
    bad = [(x, value) for x, value in values if not is_good(value, x)]
    shown = bad or [max(values, key=lambda pair: pair[1])]
    text = ", ".join(f"{x.name} {form.format(value)}" for x, value in shown)
    return Line(aim, text if bad else f"{len(values)} pairs, at most {text}", not bad)


def mean(aim, pairs, value_of, limit):
    values = [value for value in map(value_of, pairs) if value]
    if not values:
        return Line(aim, "not measured", None)
    found = geometric_mean(values)
    return Line(aim, f"{found:.3f} over {len(values)} pairs", found <= limit)


def growth(measured):
    """Eight times the input takes no more time for each byte, and no more memory than allowed."""
    time = "CPU time of `default` for each byte grows by ≤ 25 % from the smallest input to the largest"
    memory = "peak RSS at the largest input ≤ 512 + 40 MB, with `--memory 64M` ≤ 64 + 40 MB"
    if not measured:
        return [Line(time, "not measured", None), Line(memory, "not measured", None)]
    first, last = measured["points"][0], measured["points"][-1]
    if any(x["runs"][name]["problem"] for x in (first, last) for name in ("default", "64M")):
        return [Line(time, "Silt failed", False), Line(memory, "Silt failed", False)]
    slower = cpu_per_byte(last) / cpu_per_byte(first)
    rss = {name: last["runs"][name]["create"]["peak_rss_bytes"] for name in ("default", "64M")}
    is_kept = (rss["default"] <= 512 * MB + BUDGET_SLACK_BYTES, rss["64M"] <= 64 * MB + BUDGET_SLACK_BYTES)
    text = ", ".join(f"{name} {value:,} bytes" for name, value in rss.items())
    return [Line(time, f"× {slower:.2f}", slower <= 1.25), Line(memory, text, all(is_kept))]


def cpu_per_byte(point):
    return point["runs"]["default"]["create"]["cpu_seconds"] / (point["old_bytes"] + point["new_bytes"])


def golden(images):
    aim = "`balena` ÷ balenaEngine's own deltas of testdata/golden, as saved, both gzip: none larger"
    if not images:
        return Line(aim, "not measured", None)
    ratios = {name: x["balena_bytes"] / x["balena_engine_bytes"] for name, x in images.items()}
    text = ", ".join(f"{name} {value:.2f}" for name, value in ratios.items())
    return Line(aim, f"{text}; mean {geometric_mean(ratios.values()):.2f}", max(ratios.values()) <= 1)


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values))


def ratio(ours, theirs):
    return ours / theirs if ours is not None and theirs else None


def difference(ours, theirs):
    return ours - theirs if ours is not None and theirs is not None else None


def most(*values):
    return max((x for x in values if x is not None), default=None)


def below(limit):
    return lambda value, x: value < limit


def at_most(limit):
    return lambda value, x: value <= limit
