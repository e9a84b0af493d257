"""The page of results, as Markdown, from what a benchmark measured."""
from acceptance import PairFacts, judge
from peers import PEERS
from siltbench import VARIANTS

LEVELS = ("fast", "default", "best")
BALENA = ("balena-fast", "balena", "balena-best")
SHOWN_KINDS = 6
MB = 1_000_000


def page(results):
    facts = [PairFacts(name, pair) for name, pair in results["pairs"].items()]
    parts = ["# Benchmarks", introduction(results), pairs_text(facts), sizes_text(facts), balena_text(facts, results),
             kinds_text(facts), create_text(facts), apply_text(facts), aims_text(results), growth_text(results["growth"]),
             problems_text(facts)]
    return "\n\n".join(x for x in parts if x) + "\n"


KEPT = "<!-- What follows is not written by scripts/bench. -->"


def replace_page(path, page):
    """Writes the page, and keeps what stands behind the mark in the one that is there."""
    _, mark, kept = (path.read_text() if path.exists() else "").partition(KEPT)
    path.write_text(page + (f"\n{mark}{kept}" if mark else ""))


def introduction(results):
    machine, silt = results["machine"], results["silt"]
    source = f"commit {silt['commit']}" if silt["commit"] else f"binary {silt['binary'][:12]}"
    programs = ", ".join(f"{name} {version}" for name, version in results["programs"].items())
    return (f"Written by `scripts/bench` on {results['measured']}: {silt['version']} ({source}), "
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB, "
            f"{machine['system']}; {programs}.\n\n"
            "Every delta was applied, and what came of it compared with the new image. A peer makes one delta of the "
            "layers that are new from all old layers, concatenated; its size is that bare payload. Silt's is the file as saved, with "
            "config, manifest and tar headers in it. The column *librsync* (blocks of 512 bytes, gzip -6) stands for "
            "balenaEngine, which makes the same commands. CPU time is user and system time of all threads, "
            "which differs by a tenth and more from run to run where a machine has other work: of pairs up to 16 MiB all "
            "programs ran seven times in turn, and the medians stand here. Times and memory of several programs in a row are "
            "their sum and their greatest.")


def pairs_text(facts):
    rows = [f"- **{x.name}**: {x.pair['versions'] or 'two images'}. Old {size(x.pair['old_bytes'])}, "
            f"new layers {size(x.pair['new_bytes'])}." for x in facts]
    return "\n".join(rows)


def sizes_text(facts):
    heads = ["pair", "new layers", *(x.name for x in PEERS), *(f"silt {x}" for x in LEVELS)]
    rows = [[x.name, size(x.pair["new_bytes"]), *(peer_size(x, peer.name) for peer in PEERS),
             *(ours(x, level, x.best) for level in LEVELS)] for x in facts]
    return "## Size\n\n" + table(heads, rows) + "\n\nThe smallest peer is bold; in brackets ours ÷ that."


def balena_text(facts, results):
    heads = ["pair", "librsync raw", "gzip -6", *(f"silt {x}" for x in BALENA), "COPYs, librsync", "COPYs, silt"]
    rows = []
    for x in facts:
        librsync, balena = x.good("librsync"), x.good("balena")
        rows.append([x.name, size(librsync.get("raw_bytes")), size(librsync.get("delta_bytes")),
                     *(ours(x, name, librsync.get("delta_bytes")) for name in BALENA),
                     count(librsync.get("copies")), count(balena.get("rdiff_patch", {}).get("copies"))])
    golden = "; ".join(f"{name} {found['balena_engine_bytes']:,} → {found['balena_bytes']:,}"
                       for name, found in results["golden"].items())
    return ("## The `balena` format\n\n" + table(heads, rows) +
            "\n\nThe engine opens a file for each COPY, so their number is a cost. In brackets ours ÷ librsync with gzip -6. " +
            "Deltas that balenaEngine made itself (testdata/golden), "
            f"as saved with gzip -6, and ours, in bytes: {golden}." * bool(golden))


def kinds_text(facts):
    rows = []
    for x in facts:
        kinds = sorted(x.good("default").get("kinds", {}).items(), key=lambda kind: -kind[1])
        if kinds:
            rows.append([x.name, ", ".join(f"{name} {size(spent)}" for name, spent in kinds[:SHOWN_KINDS] if spent)])
    if not rows:
        return ""
    return "## What `default` spends its bytes on\n\n" + table(["pair", "sorts of files"], rows)


def create_text(facts):
    names = [*(x.name for x in PEERS), *LEVELS, "64M", "balena"]
    rows = [[x.name, *(cost(x, name, "create") for name in names)] for x in facts]
    return ("## Creating: CPU seconds, peak RSS\n\n" + table(["pair", *names], rows) +
            "\n\n*64M* is `--memory 64M` at the default level. " + scratch_text(facts))


def scratch_text(facts):
    sizes = [x.good("default").get("scratch_bytes", 0) for x in facts]
    return (f"Silt's temporary files had at most {size(max(sizes))} (the delta itself, before it is packed)."
            if any(sizes) else "Silt wrote no temporary files.")


def apply_text(facts):
    names = [*(x.name for x in PEERS), "default", "best", "balena"]
    rows = [[x.name, *(cost(x, name, "apply") for name in names), size(x.apply("default", "written_bytes"))]
            for x in facts]
    return ("## Applying: CPU seconds, peak RSS\n\n" + table(["pair", *names, "written by `default`"], rows) +
            "\n\nFor Silt that is `image load`, which reads its input twice, hashes and syncs; the peers only write a file.")


def aims_text(results):
    marks = {True: "reached", False: "**not reached**", None: "–"}
    rows = [[line.aim, line.found, marks[line.passed]] for line in judge(results)]
    return "## Aims\n\n" + table(["aim", "found", ""], rows)


def growth_text(growth):
    if not growth:
        return ""
    names = list(growth["points"][0]["runs"])
    rows = []
    for point in growth["points"]:
        rows.append([f"× {point['times']}", size(point["old_bytes"]), size(point["new_bytes"]),
                     *(growth_cell(point["runs"][name]) for name in names)])
    return ("## Growth\n\nThe files of " + ", ".join(growth["pairs"]) + ", all of them and a half, a quarter, an "
            "eighth. Each cell: size of the delta; CPU seconds and peak RSS of creating; of applying.\n\n" +
            table(["input", "old", "new layers", *names], rows))


def growth_cell(outcome):
    if outcome["problem"]:
        return "–"
    create, apply = outcome["create"], outcome["apply"]
    return (f"{size(outcome['delta_bytes'])}; {seconds(create['cpu_seconds'])}, {memory(create['peak_rss_bytes'])}; "
            f"{seconds(apply['cpu_seconds'])}, {memory(apply['peak_rss_bytes'])}")


def problems_text(facts):
    rows = [f"- {x.name}, {program}: {outcome['problem']}" for x in facts
            for program, outcome in x.outcomes.items() if outcome["problem"]]
    expected = [*(x.name for x in PEERS), *(x.name for x in VARIANTS)]
    for x in facts:
        if left_out := [name for name in expected if name not in x.outcomes]:
            rows.append(f"- {x.name}: {', '.join(left_out)} not run")
    return "## Not measured\n\n" + "\n".join(rows) if rows else ""


def peer_size(x, name):
    found = x.size(name)
    return f"**{size(found)}**" if found is not None and found == x.best else size(found)


def ours(x, name, reference):
    found = x.size(name)
    if found is None or not reference:
        return size(found)
    return f"{size(found)} ({found / reference:.2f})"


def cost(x, name, what):
    run = x.good(name).get(what)
    return f"{seconds(run['cpu_seconds'])}, {memory(run['peak_rss_bytes'])}" if run else "–"


def size(value):
    if value is None:
        return "–"
    return f"{value / MB:.2f} MB" if value >= MB else f"{value / 1000:.1f} KB"


def memory(value):
    return f"{value / MB:.0f} MB"


def seconds(value):
    return f"{value:.1f} s" if value >= 0.1 else f"{value:.2f} s"


def count(value):
    return "–" if value is None else f"{value:,}"


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(x) + " |" for x in lines)
