use std::os::unix::fs::PermissionsExt;

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
    assert!(store.insert_unpinned(&mut io::repeat(0), ByteSize::new(1 << 20)).is_err());
    let (found, path) = store.insert_unpinned(&mut &b"abc"[..], ByteSize::new(3)).unwrap();
    assert_eq!((found, store.blob(&found.sha256).unwrap()), (pin(b"abc"), Some(path)));
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
    store.remove_document("layer", "a").unwrap();
    assert!(store.documents("layer").unwrap().is_empty());
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
