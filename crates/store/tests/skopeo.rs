//! The store is an OCI layout: skopeo reads it.
//!
//! A binary of its own: a child holds copies of all open files, and with them the locks of other
//! tests' layers, from its fork until it runs its program.

mod common;

use std::fs;
use std::process::Command;

use common::*;

#[test]
fn skopeo_reads_the_store() {
    if !has_tool("skopeo", &["--version"]) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let layers = [layer_bytes(1, 70_000), vec![0; 1024]];
    load(&create(root.path()), &layers, &["my-service:old", "ghcr.io/a/b:c"]);
    for reference in ["my-service:old", "ghcr.io/a/b:c"] {
        let image = format!("oci:{}:{reference}", root.path().display());
        let out = Command::new("skopeo").args(["inspect", "--raw", &image]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let out = Command::new("skopeo").args(["inspect", &image]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(layers.iter().all(|layer| text.contains(&diff_id(layer).to_string())), "{text}");
        let copy = format!("oci:{}", root.path().with_extension("copy").display());
        let out = Command::new("skopeo").args(["copy", &image, &copy]).output().unwrap();
        fs::remove_dir_all(root.path().with_extension("copy")).unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}
