//! Keys and signatures against Debian's minisign.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use signing::{PublicKey, SecretKeyFile, Signature, UnlockError};

const DOCUMENT: &[u8] = b"{\"schemaVersion\":2}";

fn minisign(folder: &Path, arguments: &[&str], password: &str) -> bool {
    let mut command = Command::new("minisign");
    command.args(arguments).current_dir(folder).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let lines = format!("{password}\n{password}\n");
    // It may end without having read a password that it did not need.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child.wait().unwrap().success()
}

#[allow(clippy::print_stderr)]
fn has_minisign() -> bool {
    let runs = Command::new("minisign").arg("-v").output().is_ok_and(|out| out.status.success());
    if !runs {
        assert!(std::env::var_os("SILT_REQUIRE_TOOLS").is_none_or(|value| value != "1"));
        eprintln!("skipped: minisign is missing");
    }
    runs
}

/// Keys that need no password: both read what the other signed, also in the legacy form.
#[test]
fn each_accepts_what_the_other_signs() {
    if !has_minisign() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(minisign(folder.path(), &["-G", "-W", "-p", "k.pub", "-s", "k.sec"], ""));
    let public = PublicKey::parse(&fs::read(at("k.pub")).unwrap()).unwrap();
    let file = SecretKeyFile::parse(&fs::read(at("k.sec")).unwrap()).unwrap();
    assert!(!file.is_encrypted());
    let secret = file.unlock(None).unwrap();
    assert_eq!(secret.public_key(&public.comment), public);
    fs::write(at("document"), DOCUMENT).unwrap();
    for legacy in [&[][..], &["-l"]] {
        let sign = ["-S", "-W", "-s", "k.sec", "-m", "document", "-t", "über\tdas"];
        assert!(minisign(folder.path(), &[legacy, &sign].concat(), ""));
        let text = fs::read(at("document.minisig")).unwrap();
        let theirs = Signature::parse(&text).unwrap();
        assert_eq!(theirs.verify(&public, DOCUMENT), Ok(()));
        assert!(theirs.is_exactly(&text));
        assert_eq!(theirs.trusted_comment, "über\tdas");
    }
    let verify = ["-V", "-p", "k.pub", "-m", "document"];
    fs::write(at("document.minisig"), secret.sign(DOCUMENT, "ours").to_text()).unwrap();
    assert!(minisign(folder.path(), &verify, ""));
    assert!(minisign(folder.path(), &[&verify[..], &["-H"]].concat(), ""));
    fs::write(at("document"), b"another").unwrap();
    assert!(!minisign(folder.path(), &verify, ""));
}

/// A key under a password, made by minisign 0.11 with `pass word`: takes 1 GiB and a second to open.
#[test]
#[ignore = "takes 1 GiB of memory"]
fn an_encrypted_key_opens_with_its_password() {
    let text = include_bytes!("../../../testdata/signing/encrypted.key");
    let file = SecretKeyFile::parse(text).unwrap();
    assert!(file.is_encrypted());
    assert_eq!(file.unlock(None).unwrap_err(), UnlockError::NoPassword);
    assert_eq!(file.unlock(Some(b"pass")).unwrap_err(), UnlockError::WrongPassword);
    let secret = file.unlock(Some(b"pass word")).unwrap();
    let public =
        PublicKey::parse(include_bytes!("../../../testdata/signing/encrypted.pub")).unwrap();
    assert_eq!(secret.public_key(&public.comment), public);
}
