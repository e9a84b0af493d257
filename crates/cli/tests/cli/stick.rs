//! Update files: signed, split, in a folder, under a policy, with hooks and reports.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::bench::{Bench, Ended, ended, facts, golden, has_tool, text};
use crate::crafted::Crafted;

const BASE: &str = "golden-multi:base";
const TARGET: &str = "golden-multi:target";

fn key(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/signing").join(name);
    text(&path.canonicalize().unwrap()).to_owned()
}

impl Bench {
    /// A command on a device that has a configuration of its own.
    fn device(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("SILT_TRUST_DIR", self.path("trust.d"));
        command.env("SILT_POLICY", self.path("policy.toml"));
        command.env("SILT_HOOKS_DIR", self.path("hooks.d")).env("SILT_DEVICE", "unit 7");
        command
    }

    fn on_device(&self, arguments: &[&str]) -> Ended {
        ended(self.device(arguments).output().unwrap(), &self.path(""))
    }

    fn policy(&self, policy: &str) {
        fs::write(self.path("policy.toml"), policy).unwrap();
    }

    fn trust_test_key(&self) {
        self.on_device(&["trust", "add", &key("test.pub")]).expect(0);
    }

    /// A signed delta of the golden images.
    fn signed_delta(&self) -> PathBuf {
        let maker = Bench::with(&[golden("multi", "base.tar"), golden("multi", "target.tar")]);
        let to = self.path("signed.tar");
        let line = ["image", "delta", BASE, TARGET, "--sign", &key("test.key"), "-o", text(&to)];
        maker.run(&line).expect(0);
        to
    }

    fn hook(&self, name: &str, script: &str) {
        let path = self.path("hooks.d").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn nothing_unsigned_is_loaded_where_the_policy_says_so() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let signed = bench.signed_delta();
    bench.policy("require = true\n");
    let before = bench.fingerprint();
    for (input, why) in [
        (golden("multi", "delta.tar"), "it is not signed"),
        (signed.clone(), "D948A05B30636DEA, which is not trusted here"),
    ] {
        let run = bench.on_device(&["-q", "load", "-i", text(&input)]).expect(8);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
    let run = bench.on_device(&["-q", "image", "apply", BASE]).expect(2);
    assert!(run.stderr.contains("is not a delta"), "{}", run.stderr);
    assert!(bench.fingerprint() == before);
    bench.trust_test_key();
    let plan = bench.on_device(&["load", "--dry-run", "-i", text(&signed)]).expect(0).stdout;
    assert!(plan.contains("Policy: signature passed"), "{plan}");
    bench.on_device(&["-q", "load", "-i", text(&signed)]).expect(0);
    assert_eq!(bench.id(TARGET), facts("multi")["target"]["id"]);
}

/// Without a policy, a signature that is there must be right once there is a key.
#[test]
fn a_key_that_nobody_knows_is_refused_once_there_are_keys() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let signed = bench.signed_delta();
    bench.on_device(&["load", "--dry-run", "-i", text(&signed)]).expect(0);
    bench.on_device(&["trust", "add", &key("encrypted.pub"), "--comment", "other"]).expect(0);
    bench.on_device(&["load", "--dry-run", "-i", text(&signed)]).expect(8);
    bench.on_device(&["load", "--dry-run", "-i", text(&golden("multi", "delta.tar"))]).expect(0);
    bench.on_device(&["image", "show", text(&signed)]).expect(0);
    bench.trust_test_key();
    bench.on_device(&["load", "--dry-run", "-i", text(&signed)]).expect(0);
}

#[test]
fn keys_are_listed_and_removed() {
    let bench = Bench::new();
    assert_eq!(bench.on_device(&["trust", "ls", "--json"]).expect(0).stdout.trim(), "[]");
    bench.trust_test_key();
    let line = fs::read_to_string(key("encrypted.pub")).unwrap();
    let line = line.lines().nth(1).unwrap();
    bench.on_device(&["trust", "add", line, "--comment", "next year's"]).expect(0);
    let listed = bench.on_device(&["trust", "ls", "--json"]).expect(0).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let comments: Vec<&Value> = listed.as_array().unwrap().iter().map(|k| &k["comment"]).collect();
    assert_eq!(comments, ["next year's", "minisign public key D948A05B30636DEA"]);
    let table = bench.on_device(&["trust", "ls"]).expect(0).stdout;
    assert!(table.contains("D948A05B30636DEA") && table.contains("next year's"), "{table}");
    bench.on_device(&["trust", "rm", "d948a05b30636dea"]).expect(0);
    bench.on_device(&["trust", "rm", "D948A05B30636DEA"]).expect(3);
    bench.on_device(&["trust", "add", text(&golden("tiny", "base.tar"))]).expect(5);
}

/// An archive of any form can be signed afterwards, by a key or with what minisign made.
#[test]
fn archives_are_signed_afterwards() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    bench.trust_test_key();
    bench.policy("require = true\n");
    let line = ["image", "sign", "--key", &key("test.key"), "-o", "out.tar"];
    for input in ["base.tar", "delta.tar"] {
        let input = golden("multi", input);
        bench.run(&[&line[..], &[text(&input)]].concat()).expect(0);
        bench.on_device(&["-q", "load", "--dry-run", "-i", "out.tar", "--tag", "a:b"]).expect(0);
    }
    bench.run(&["save", "--compress", "gzip", "-o", "x.tar", TARGET]).expect(0);
    bench.run(&["image", "sign", "x.tar", "--key", &key("test.key")]).expect(0);
    let signed = fs::read(bench.path("x.tar")).unwrap();
    bench.run(&["save", "-o", "y.tar", TARGET, "--sign", &key("test.key")]).expect(0);
    assert!(fs::read(bench.path("y.tar")).unwrap() == signed);
    if !has_tool("minisign", &["-v"]) {
        return;
    }
    bench.run(&["save", "--compress", "none", "-o", "z.tar", TARGET]).expect(0);
    let script = format!(
        "tar -xf z.tar index.json && minisign -S -W -s '{}' -m index.json -t hello -c mine",
        key("test.key")
    );
    let shell = |script: &str| {
        let run = Command::new("sh").args(["-c", script]).current_dir(bench.path("")).output();
        let run = run.unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    shell(&script);
    bench.run(&["image", "sign", "z.tar", "--signature", "index.json.minisig"]).expect(0);
    let shown = bench.on_device(&["image", "show", "z.tar"]).expect(0).stdout;
    assert!(shown.contains("\"hello\""), "{shown}");
    // And the other way round.
    shell("tar -xf y.tar index.json index.json.minisig");
    shell(&format!("minisign -V -p '{}' -m index.json", key("test.pub")));
}

#[test]
fn a_signed_archive_is_not_compressed_as_a_whole() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    let sign = ["--sign", &key("test.key"), "-o", "x.tar", TARGET];
    bench.run(&[&["save", "--compress", "gzip"][..], &sign].concat()).expect(2);
    bench.run(&[&["save"][..], &sign].concat()).expect(0);
    let gzip = Command::new("gzip").arg(bench.path("x.tar")).status().unwrap();
    assert!(gzip.success());
    let run = bench.run(&["load", "-i", "x.tar.gz"]).expect(5);
    assert!(run.stderr.contains("signature"), "{}", run.stderr);
    bench.run(&["image", "delta", TARGET, TARGET, "--sign", "k"]).expect(2);
    bench.run(&["save", "--sign", "absent.key", "-o", "y.tar", TARGET]).expect(1);
}

fn crafted(bench: &Bench, file: &str, name: &'static str, created: &str, labels: Value) -> String {
    let mut image = Crafted::new(name);
    image.config["created"] = json!(created);
    image.config["config"] = json!({ "Labels": labels });
    image.write(&bench.path(file))
}

#[test]
fn each_rule_is_named_and_nothing_is_changed() {
    let bench = Bench::new();
    let old = "2020-01-01T00:00:00Z";
    crafted(&bench, "old.tar", "fleet/app:1", old, json!({ "version": "1.0.0" }));
    let new = json!({ "version": "1.2.0", "io.silt.device-type": "gateway" });
    let newer = crafted(&bench, "new.tar", "fleet/app:1", "2021-01-01T00:00:00Z", new);
    bench.on_device(&["-q", "load", "-i", "new.tar"]).expect(0);
    let before = bench.fingerprint();
    for (policy, input, rule) in [
        ("no-downgrade = true", "old.tar", "downgrade"),
        ("no-downgrade = true\nversion-label = 'version'", "old.tar", "downgrade"),
        ("repositories = ['fleet/other', 'app']", "new.tar", "repository"),
        ("platforms = ['linux/arm/v7']", "new.tar", "platform"),
        ("device-type = 'gateway'", "old.tar", "device-type"),
        ("device-type = 'other'", "new.tar", "device-type"),
    ] {
        bench.policy(policy);
        let run = bench.on_device(&["-q", "load", "-i", input]).expect(10);
        assert!(run.stderr.contains(&format!("forbids it: {rule}: ")), "{}", run.stderr);
        let run = bench.on_device(&["-q", "load", "--dry-run", "-i", input]).expect(10);
        assert!(run.stdout.contains(&format!("Policy: {rule} FAILED")), "{}", run.stdout);
        let shown = bench.on_device(&["image", "show", input]).expect(0).stdout;
        assert!(shown.contains("Here: cannot be loaded: the policy forbids it"), "{shown}");
    }
    assert!(bench.fingerprint() == before);
    bench.policy("requires = true");
    assert!(bench.on_device(&["load", "-i", "new.tar"]).expect(1).stderr.contains("policy.toml"));
    bench.policy(
        "repositories = ['fleet/*']\nplatforms = ['linux/amd64']\ndevice-type = 'gateway'\n\
         no-downgrade = true\nversion-label = 'version'",
    );
    let run = bench.on_device(&["-q", "load", "--dry-run", "-i", "new.tar"]).expect(0).stdout;
    assert_eq!(run.lines().filter(|line| line.contains(" passed: ")).count(), 4, "{run}");
    assert_eq!(bench.id("fleet/app:1"), newer);
}

#[test]
fn a_downgrade_that_is_wished_for_is_done_and_recorded() {
    let bench = Bench::new();
    let older = crafted(&bench, "old.tar", "app:1", "2020-01-01T00:00:00Z", json!({}));
    let newer = crafted(&bench, "new.tar", "app:1", "2021-01-01T00:00:00Z", json!({}));
    bench.policy("no-downgrade = true");
    bench.on_device(&["-q", "load", "-i", "new.tar"]).expect(0);
    let run = bench.on_device(&["-q", "load", "-i", "old.tar", "--report", "r.json"]).expect(10);
    assert!(run.stderr.contains("hint: --allow-downgrade"), "{}", run.stderr);
    let report = report(&bench, "r.json");
    assert_eq!((&report["result"], &report["exit_code"]), (&json!("failed"), &json!(10)));
    let line = ["-q", "load", "-i", "old.tar", "--allow-downgrade", "--report", "r.json"];
    bench.on_device(&line).expect(0);
    let report = self::report(&bench, "r.json");
    assert_eq!(report["result"], "loaded");
    assert_eq!(report["images"][0]["from"], json!([{ "name": "app:1", "image": newer }]));
    assert_eq!(report["images"][0]["to"], json!(older));
    let verdict = &report["policy"][0];
    assert_eq!((&verdict["rule"], &verdict["is_kept"]), (&json!("downgrade"), &json!(false)));
    assert_eq!(verdict["is_overridden"], true);
}

fn report(bench: &Bench, name: &str) -> Value {
    serde_json::from_slice(&fs::read(bench.path(name)).unwrap()).unwrap()
}

#[test]
fn a_report_says_who_put_what_where() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let signed = bench.signed_delta();
    bench.trust_test_key();
    bench.policy("require = true\ndevice-type = 'x'\n");
    fs::create_dir(bench.path("stick")).unwrap();
    let line = ["-q", "load", "-i", text(&signed), "--report", "stick"];
    bench.on_device(&line).expect(10);
    bench.policy("require = true\n");
    fs::remove_dir_all(bench.path("stick")).unwrap();
    fs::create_dir(bench.path("stick")).unwrap();
    bench.on_device(&line).expect(0);
    let files: Vec<PathBuf> =
        fs::read_dir(bench.path("stick")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert!(text(file).contains("/silt-report-unit-7-20"), "{file:?}");
    let report: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!((&report["device"], &report["exit_code"]), (&json!("unit 7"), &json!(0)));
    assert_eq!(report["signer"]["key_id"], "D948A05B30636DEA");
    assert_eq!(report["images"][0]["to"], facts("multi")["target"]["id"]);
    let bytes = fs::read(&signed).unwrap();
    assert_eq!(report["file_bytes"], bytes.len());
    assert_eq!(report["file_digest"], silt::Digest::of(&bytes).to_string());
    assert!(report["written_bytes"].as_u64() > report["read_bytes"].as_u64());
    // Once more, there is nothing to do; and what cannot be written does not undo it.
    let line = ["-q", "load", "-i", text(&signed), "--report", "absent/r.json"];
    let run = bench.on_device(&line).expect(1);
    let expected = "error: the images are loaded, but cannot write the report absent/r.json";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
    assert_eq!(bench.id(TARGET), facts("multi")["target"]["id"]);
    // The first failure is the one that counts.
    fs::write(bench.path("no.tar"), "no").unwrap();
    let line = ["load", "-i", "no.tar", "--report", "absent/r.json"];
    let run = bench.on_device(&line).expect(8);
    assert!(run.stderr.contains("warning: the images") || run.stderr.contains("warning: "));
}

#[test]
fn hooks_know_the_plan_and_can_refuse() {
    let bench = Bench::with(&[golden("multi", "base.tar")]);
    let delta = text(&golden("multi", "delta.tar")).to_owned();
    let log = bench.path("log");
    let say = format!(
        "cat > {0}.json; echo \"$SILT_HOOK $SILT_NAMES from [$SILT_FROM] $SILT_RESULT \
         $SILT_EXIT_CODE\" >> {0}; [ \"$SILT_INPUT\" = '{delta}' ] && [ -n \"$SILT_PLAN\" ]",
        text(&log)
    );
    bench.hook("post-load.d/10-say", &say);
    bench.hook("pre-load.d/10-say", &say);
    bench.hook("pre-load.d/20-no", "echo battery low >&2; exit 1");
    let before = bench.fingerprint();
    bench.on_device(&["-q", "load", "--dry-run", "-i", &delta]).expect(0);
    assert!(!log.exists());
    let run = bench.on_device(&["-q", "load", "-i", &delta]).expect(10);
    assert!(run.stderr.contains("battery low\n"), "{}", run.stderr);
    assert!(run.stderr.contains("hooks.d/pre-load.d/20-no says no"), "{}", run.stderr);
    assert!(bench.fingerprint() == before);
    fs::remove_file(bench.path("hooks.d/pre-load.d/20-no")).unwrap();
    bench.on_device(&["-q", "load", "-i", &delta]).expect(0);
    let told: Value = serde_json::from_slice(&fs::read(bench.path("log.json")).unwrap()).unwrap();
    assert_eq!(told["result"], "loaded");
    let target = "golden-multi:delta from []";
    let expected = format!(
        "pre-load {target}  \npost-load {target} failed 10\npre-load {target}  \n\
         post-load {target} loaded 0\n"
    );
    assert_eq!(fs::read_to_string(&log).unwrap(), expected);
    bench.hook("post-load.d/20-no", "exit 1");
    let run = bench.on_device(&["-q", "load", "-i", &delta]).expect(1);
    assert!(run.stderr.contains("error: the images are loaded, but the hook"), "{}", run.stderr);
}

#[test]
fn parts_are_read_on_and_what_is_wrong_is_named() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    fs::create_dir(bench.path("stick")).unwrap();
    let save = ["save", "-o", "stick/up.tar", "--split", "200K", "--json", TARGET];
    let report = bench.json(&save);
    let count = report["parts"].as_u64().unwrap();
    assert!(count >= 3, "{report}");
    bench.run(&["save", "-o", "plain.tar", TARGET]).expect(0);
    let mut cat = Command::new("sh");
    cat.args(["-c", "cat stick/up.tar.*"]).current_dir(bench.path(""));
    let whole = cat.output().unwrap().stdout;
    assert!(whole == fs::read(bench.path("plain.tar")).unwrap());
    let other = Bench::new();
    let at = |name: &str| bench.path("stick").join(name);
    for input in [at("up.tar.000"), at("up.tar"), bench.path("stick")] {
        other.run(&["load", "--dry-run", "-i", text(&input)]).expect(0);
    }
    let second = fs::read(at("up.tar.001")).unwrap();
    let mut swapped = second.clone();
    swapped.reverse();
    for (bytes, why) in [
        (None, "is missing"),
        (Some(&swapped[..]), "of another archive"),
        (Some(&second[1..]), "of another archive"),
    ] {
        match bytes {
            Some(bytes) => fs::write(at("up.tar.001"), bytes).unwrap(),
            None => fs::remove_file(at("up.tar.001")).unwrap(),
        }
        for input in ["up.tar.000", "."] {
            let run = other.run(&["-q", "load", "-i", text(&at(input))]).expect(5);
            assert!(run.stderr.contains("up.tar.001 "), "{}", run.stderr);
            assert!(run.stderr.contains(why), "{}", run.stderr);
        }
        assert!(!other.path("store").exists());
    }
    // Without the list, numbers are all there is.
    fs::write(at("up.tar.001"), &second).unwrap();
    fs::remove_file(at("up.tar-parts.json")).unwrap();
    other.run(&["-q", "load", "--dry-run", "-i", text(&at("up.tar"))]).expect(0);
    fs::remove_file(at("up.tar.001")).unwrap();
    let run = other.run(&["-q", "load", "-i", text(&at("up.tar"))]).expect(5);
    assert!(run.stderr.contains("up.tar.001 is missing"), "{}", run.stderr);
    // A shorter archive in the same place leaves nothing of the longer one.
    bench.run(&["save", "-o", "stick/up.tar", "--split", "300K", TARGET]).expect(0);
    assert!(!at(&format!("up.tar.{:03}", count - 1)).exists());
    other.run(&["-q", "load", "-i", text(&at("up.tar.000"))]).expect(0);
    assert_eq!(other.id(TARGET), facts("multi")["target"]["id"]);
    bench.run(&["save", "-o", "x.tar", "--split", "0", TARGET]).expect(2);
    bench.run(&["save", "--split", "1M", TARGET]).expect(2);
}

/// FAT says of a file of 4 GiB what a limit says of a smaller one, once its signal is ignored.
#[test]
fn a_file_that_gets_too_large_has_a_hint() {
    let bench = Bench::with(&[golden("multi", "target.tar")]);
    for flags in ["", "--split 1G"] {
        let script = format!(
            "trap '' XFSZ; ulimit -f 100; {} --root store -q image save -o up.tar {flags} {TARGET}",
            env!("CARGO_BIN_EXE_silt")
        );
        let mut bash = Command::new("bash");
        let run = bash.args(["-c", &script]).current_dir(bench.path("")).output().unwrap();
        let stderr = String::from_utf8_lossy(&run.stderr);
        // Nothing is told of the hidden file, which is gone.
        let expected = "error: cannot write up.tar: File too large (os error 27)\n\
                        hint: FAT takes no file of 4 GiB: with --split 3900M there are parts\n";
        assert_eq!((run.status.code(), &*stderr), (Some(1), expected));
        let left = fs::read_dir(bench.path("")).unwrap();
        let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(left.all(|name| !name.contains("up.tar")));
    }
}

#[test]
fn the_newest_file_of_a_folder_that_applies_is_taken() {
    let bench = Bench::new();
    fs::create_dir(bench.path("stick")).unwrap();
    let run = bench.run(&["-q", "load", "-i", "stick"]).expect(5);
    assert!(run.stderr.contains("has no update file"), "{}", run.stderr);
    crafted(&bench, "stick/c.tar", "app:1", "2020-01-01T00:00:00Z", json!({}));
    let middle = crafted(&bench, "stick/b.tar", "app:1", "2021-01-01T00:00:00Z", json!({}));
    crafted(&bench, "stick/a.tar", "other:1", "2022-01-01T00:00:00Z", json!({}));
    fs::copy(golden("multi", "delta.tar"), bench.path("stick/d.tar")).unwrap();
    fs::write(bench.path("stick/photo.tar"), "no archive").unwrap();
    fs::write(bench.path("stick/notes.txt"), "hello").unwrap();
    bench.policy("repositories = ['app']");
    let run = bench.on_device(&["load", "-i", "stick"]).expect(0);
    for (file, why) in [
        ("stick/a.tar", "repository"),
        ("stick/d.tar", "repository"),
        ("stick/photo.tar", "archive"),
    ] {
        let told = run.stderr.lines().find(|l| l.contains("passed over") && l.contains(file));
        assert!(told.is_some_and(|line| line.contains(why)), "{file}: {}", run.stderr);
    }
    assert_eq!(bench.id("app:1"), json!(middle));
    let shown: Value =
        serde_json::from_str(&bench.on_device(&["image", "show", "--json", "stick"]).stdout)
            .unwrap();
    assert_eq!(shown["file"], "stick/b.tar");
    bench.policy("repositories = ['nothing']");
    let run = bench.on_device(&["-q", "load", "-i", "stick"]).expect(10);
    assert!(run.stderr.contains("no file there can be loaded"), "{}", run.stderr);
}
