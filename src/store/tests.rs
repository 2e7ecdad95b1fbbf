use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn pin(bytes: &[u8]) -> Pin {
    Pin { size: ByteSize::new(bytes.len() as u64), sha256: Digest::of(bytes) }
}

/// Returns how many things lie in the session's folder besides its lock and its uses.
fn scraps(store: &Store) -> usize {
    disk::list(store.session().unwrap().path()).unwrap().len() - 2
}

#[test]
fn a_blob_is_stored_once_read_only_and_only_if_it_is_the_promised_one() {
    let (_folder, store) = store();
    let digest = Digest::of(b"abc");
    assert_eq!(store.blob(&digest).unwrap(), None);
    for (bytes, promised) in [(&b"ab"[..], pin(b"abc")), (b"abcd", pin(b"abc")), (b"abd", pin(b"abc"))] {
        let error = store.insert(&mut &bytes[..], promised).unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
        assert_eq!(store.blob(&digest).unwrap(), None);
        assert_eq!(scraps(&store), 0);
    }
    let path = store.insert(&mut &b"abc"[..], pin(b"abc")).unwrap();
    assert_eq!(store.blob(&digest).unwrap(), Some(path.clone()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    assert_eq!(store.insert(&mut &b"not read"[..], pin(b"abc")).unwrap(), path);
    assert_eq!(scraps(&store), 0);
}

#[test]
fn an_endless_content_is_cut_off() {
    let (_folder, store) = store();
    let error = store.insert(&mut io::repeat(0), pin(b"abc")).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { source: Mismatch::Size { .. }, .. }));
}

#[test]
fn a_tree_is_seen_after_its_commit_and_only_in_a_trusted_state() {
    let (_folder, store) = store();
    let id = DiffId(Digest::of(b"tree"));
    let staged = store.stage_tree().unwrap();
    disk::write(&staged.path().join("a"), b"1").unwrap();
    assert_eq!(store.tree(&id).unwrap(), None);
    drop(staged);
    assert_eq!(scraps(&store), 0);

    let staged = store.stage_tree().unwrap();
    disk::write(&staged.path().join("a"), b"2").unwrap();
    let path = staged.commit(&id).unwrap();
    assert_eq!(store.tree(&id).unwrap(), Some(path.clone()));

    // The machine lost power: the tree was made in another boot and never settled, or its state was torn.
    for state in ["boot 00000000-0000-0000-0000-000000000000\n", "", "settle"] {
        std::fs::write(store.state_path(&id), state).unwrap();
        assert_eq!(store.tree(&id).unwrap(), None, "{state}");
    }
    let staged = store.stage_tree().unwrap();
    disk::write(&staged.path().join("a"), b"3").unwrap();
    assert_eq!(staged.commit(&id).unwrap(), path);
    assert_eq!(std::fs::read(path.join("a")).unwrap(), b"3");

    std::fs::write(store.state_path(&id), "settled\n").unwrap();
    let staged = store.stage_tree().unwrap();
    disk::write(&staged.path().join("a"), b"4").unwrap();
    assert_eq!(staged.commit(&id).unwrap(), path);
    assert_eq!(std::fs::read(path.join("a")).unwrap(), b"3", "the tree that was there wins");
}

#[test]
fn an_old_tree_is_settled_when_it_is_used() {
    let (_folder, store) = store();
    let id = DiffId(Digest::of(b"tree"));
    store.stage_tree().unwrap().commit(&id).unwrap();
    let state = std::fs::File::options().write(true).open(store.state_path(&id)).unwrap();
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    state.set_modified(before).unwrap();
    assert!(store.tree(&id).unwrap().is_some());
    assert_eq!(std::fs::read_to_string(store.state_path(&id)).unwrap(), "settled\n");
}

#[test]
fn a_document_is_read_as_it_was_written_or_not_at_all() {
    let (_folder, store) = store();
    assert_eq!(store.document("layer", "a").unwrap(), None);
    for bytes in [&b"{}"[..], b"", b"\n"] {
        store.write_document("layer", "a", bytes).unwrap();
        assert_eq!(store.document("layer", "a").unwrap().unwrap(), bytes);
    }
    assert_eq!(store.documents("layer").unwrap(), ["a"]);
    let path = store.root().join("documents/layer/a.json");
    let whole = std::fs::read(&path).unwrap();
    for torn in 0..whole.len() {
        std::fs::write(&path, &whole[..torn]).unwrap();
        assert_eq!(store.document("layer", "a").unwrap(), None, "{torn}");
    }
    for (kind, key) in [("..", "a"), ("layer", "a/b"), ("layer", ""), ("layer", ".a"), ("", "a")] {
        assert!(matches!(store.document(kind, key), Err(StoreError::Name { .. })));
        assert!(matches!(store.write_document(kind, key, b""), Err(StoreError::Name { .. })));
    }
}

#[test]
fn what_dead_sessions_left_is_removed_and_what_live_ones_have_is_not() {
    let (_folder, store) = store();
    let scratch = store.scratch().unwrap();
    disk::write(&scratch.path().join("a"), b"").unwrap();
    let dead = store.root().join("scratch/session-dead");
    disk::create_folder(&dead.join("tree-0")).unwrap();
    disk::write(&dead.join("lock"), b"").unwrap();
    disk::write(&store.root().join("scratch/stray"), b"").unwrap();

    let other = Store::open(store.root()).unwrap();
    assert!(!dead.exists());
    assert!(scratch.path().join("a").exists());
    assert_eq!(disk::list(&store.root().join("scratch")).unwrap().len(), 2);
    assert_eq!(scraps(&other), 0);
    drop(other);
    assert_eq!(disk::list(&store.root().join("scratch")).unwrap().len(), 1);
}

#[test]
fn a_lock_is_held_by_one() {
    let (_folder, store) = store();
    let lock = store.lock("fetch").unwrap();
    assert!(store.try_lock("fetch").unwrap().is_none());
    assert!(store.try_lock("other").unwrap().is_some());
    drop(lock);
    assert!(store.try_lock("fetch").unwrap().is_some());
}

#[test]
fn a_root_that_cannot_be_made_is_refused_with_its_path() {
    let error = Store::open(Path::new("/proc/none/store")).map(drop).unwrap_err();
    assert!(error.to_string().contains("/proc/none/store"), "{error}");
}

fn missing(store: &Store, pin: Pin) -> Partial {
    match store.slot(pin).unwrap() {
        Slot::Missing(partial) => partial,
        Slot::Present(path) => panic!("{path:?} is there"),
    }
}

#[test]
fn a_partial_goes_on_where_it_broke_off() {
    let (_folder, store) = store();
    let mut partial = missing(&store, pin(b"abcdef"));
    assert_eq!(partial.validator(), None);
    partial.restart(Some("tag 1")).unwrap();
    partial.append(b"abc").unwrap();
    assert!(store.try_slot(pin(b"abcdef")).unwrap().is_none(), "another one is bringing it");
    drop(partial);

    let mut partial = missing(&store, pin(b"abcdef"));
    assert_eq!((partial.length(), partial.validator()), (ByteSize::new(3), Some("tag 1")));
    partial.append(b"def").unwrap();
    partial.verify().unwrap();
    let path = partial.commit().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    assert!(disk::list(&store.folder("partial")).unwrap().is_empty());
    assert!(matches!(store.slot(pin(b"abcdef")).unwrap(), Slot::Present(_)));
}

#[test]
fn a_partial_with_wrong_or_too_many_bytes_begins_again() {
    let (_folder, store) = store();
    let mut partial = missing(&store, pin(b"abc"));
    partial.append(b"ab").unwrap();
    let error = partial.append(b"cd").unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { source: Mismatch::Size { .. }, .. }));
    assert_eq!(partial.length(), ByteSize::new(0));
    partial.append(b"abx").unwrap();
    let error = partial.verify().unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { source: Mismatch::Digest { .. }, .. }));
    assert_eq!(partial.length(), ByteSize::new(0));
    assert!(partial.commit().is_err());
    for wrong in [&b"abx"[..], b"abcd"] {
        std::fs::write(store.folder("partial").join(Digest::of(b"abc").hex()), wrong).unwrap();
        assert_eq!(missing(&store, pin(b"abc")).length(), ByteSize::new(0));
    }
}

fn filled() -> (TempDir, Store) {
    let (folder, store) = store();
    for bytes in [&b"kept"[..], b"not"] {
        store.insert(&mut &bytes[..], pin(bytes)).unwrap();
        let staged = store.stage_tree().unwrap();
        disk::write(&staged.path().join("a"), bytes).unwrap();
        staged.commit(&DiffId(Digest::of(bytes))).unwrap();
        disk::write(&store.cache(&Digest::of(bytes)).unwrap().join("x"), bytes).unwrap();
        store.write_document("image", std::str::from_utf8(bytes).unwrap(), b"").unwrap();
        missing(&store, pin(&[bytes, b"..."].concat())).append(bytes).unwrap();
    }
    (folder, store)
}

fn counts(usage: &Usage) -> Vec<(&str, u64)> {
    usage.kinds.iter().map(|kind| (kind.kind, kind.count)).collect()
}

#[test]
fn usage_counts_by_kind() {
    let (_folder, store) = filled();
    let usage = store.usage().unwrap();
    let expected = [("blobs", 2), ("caches", 2), ("documents", 2), ("partial", 2), ("scratch", 1), ("trees", 2)];
    assert_eq!(counts(&usage), expected);
    assert_eq!(usage.kinds[0].size, ByteSize::new(7));
    let json = serde_json::to_value(&usage).unwrap();
    assert_eq!(json["kinds"][0], serde_json::json!({"kind": "blobs", "count": 2, "size": 7}));
    assert!(usage.to_string().starts_with("blobs            2         7 B\n"), "{usage}");
}

#[test]
fn collecting_spares_what_is_kept_and_what_a_live_process_has() {
    let (_folder, store) = filled();
    let kept = Kept {
        blobs: [Digest::of(b"kept")].into(),
        trees: [DiffId(Digest::of(b"kept"))].into(),
        caches: [Digest::of(b"kept")].into(),
        documents: [("image".to_owned(), "kept".to_owned())].into(),
    };
    // The session that made everything is alive.
    let other = Store::open(store.root()).unwrap();
    let collected = other.collect(&kept).unwrap();
    assert_eq!((counts(&collected.removed), collected.in_use), (vec![("documents", 1), ("partial", 2)], 3));

    let root = store.root().to_owned();
    let fetching = missing(&other, pin(b"soon"));
    drop(store);
    let collected = other.collect(&kept).unwrap();
    assert_eq!((counts(&collected.removed), collected.in_use), (vec![("blobs", 1), ("caches", 1), ("trees", 1)], 1));
    assert_eq!(counts(&other.usage().unwrap())[..4], [("blobs", 1), ("caches", 1), ("documents", 1), ("partial", 1)]);
    assert!(other.tree(&DiffId(Digest::of(b"kept"))).unwrap().is_some());
    assert_eq!(disk::list(&root.join("trees/sha256")).unwrap().len(), 2, "a tree and its state");
    drop(fetching);
}

#[test]
fn verifying_removes_what_is_broken() {
    let (_folder, store) = filled();
    let blob = store.blob(&Digest::of(b"not")).unwrap().unwrap();
    disk::set_mode(&blob, 0o644).unwrap();
    std::fs::write(&blob, b"rot").unwrap();
    let broken_tree = DiffId(Digest::of(b"not"));
    let judge = |id: &DiffId, _: &Path| match *id == broken_tree {
        true => Judgement::Broken { reason: "a file is gone".to_owned() },
        false => Judgement::Unknown,
    };
    let verified = store.verify(&judge, &crate::progress::Silent).unwrap();
    assert_eq!((verified.intact, verified.unjudged, verified.broken.len()), (1, 1, 2));
    assert_eq!(verified.broken[0].path, blob);
    assert!(verified.broken[0].reason.contains(&Digest::of(b"rot").to_string()));
    assert!(verified.broken.iter().all(|broken| broken.removed));
    assert_eq!(store.blob(&Digest::of(b"not")).unwrap(), None);
    assert_eq!(store.tree(&broken_tree).unwrap(), None);
    let again = store.verify(&|_, _| Judgement::Intact, &crate::progress::Silent).unwrap();
    assert_eq!(again.to_string(), "2 intact, 0 broken");
}
