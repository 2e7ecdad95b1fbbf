//! Giving up privileges for good, before the program starts.
//!
//! Owns the order in which capabilities, new privileges and system calls go away (capabilities(7), seccomp(2)). The
//! filter is a second fence: a process without capabilities is refused most of these calls anyway, but a user namespace
//! of its own would give it capabilities there, and typing into the caller's terminal needs none.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

use super::system;

/// Takes every capability away from this process and from whatever it executes.
pub(super) fn drop_capabilities() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // A capability that this kernel does not know, or no right to shrink the set because it is empty already.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Refuses the system calls of [`REFUSED`], new user namespaces, and typing into a terminal.
pub(super) fn filter_system_calls() -> io::Result<()> {
    system::install_filter(&filter())
}

/// Calls that no compiler needs: mounting, namespaces, keys, programs in the kernel, and interfaces with a history of
/// holes. All answer "operation not permitted".
const REFUSED: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_open_by_handle_at,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
];

/// The value of `seccomp_data.arch` for the processor this program is built for.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// The bit that marks system calls of the x32 form, which would pass by the numbers above.
const X32: u32 = 0x4000_0000;

const OFFSET_OF_NUMBER: u32 = 0;
const OFFSET_OF_ARCHITECTURE: u32 = 4;
/// The lower halves of the first two arguments, on little-endian processors.
const OFFSET_OF_FIRST: u32 = 16;
const OFFSET_OF_SECOND: u32 = 24;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

fn filter() -> Vec<libc::sock_filter> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let unless_equal_skip = |value, skip| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skip, value);
    let unless_bit_skip = |bits, skip| instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, skip, bits);
    let give = |value| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value);

    let mut filter = vec![
        load(OFFSET_OF_ARCHITECTURE),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, ARCHITECTURE),
        give(REFUSE),
        load(OFFSET_OF_NUMBER),
        unless_bit_skip(X32, 1),
        give(UNKNOWN),
    ];
    for number in REFUSED {
        filter.extend([unless_equal_skip(*number as u32, 1), give(REFUSE)]);
    }
    // clone3 keeps its flags in memory, which a filter cannot read; C libraries fall back to clone.
    filter.extend([unless_equal_skip(libc::SYS_clone3 as u32, 1), give(UNKNOWN)]);
    for number in [libc::SYS_clone, libc::SYS_unshare] {
        filter.extend([
            unless_equal_skip(number as u32, 4),
            load(OFFSET_OF_FIRST),
            unless_bit_skip(libc::CLONE_NEWUSER as u32, 1),
            give(REFUSE),
            give(ALLOW),
        ]);
    }
    filter.extend([
        unless_equal_skip(libc::SYS_ioctl as u32, 5),
        load(OFFSET_OF_SECOND),
        unless_equal_skip(libc::TIOCSTI as u32, 1),
        give(REFUSE),
        unless_equal_skip(libc::TIOCLINUX as u32, 1),
        give(REFUSE),
        give(ALLOW),
    ]);
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter the way the kernel does.
    fn verdict(architecture: u32, number: i64, arguments: [u32; 2]) -> u32 {
        let filter = filter();
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let instruction = filter[at];
            let taken = match u32::from(instruction.code) & !libc::BPF_K {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    accumulator = match instruction.k {
                        0 => number as u32,
                        4 => architecture,
                        16 => arguments[0],
                        24 => arguments[1],
                        offset => panic!("offset {offset}"),
                    };
                    0
                }
                code if code == libc::BPF_JMP | libc::BPF_JEQ => {
                    if accumulator == instruction.k {
                        instruction.jt
                    } else {
                        instruction.jf
                    }
                }
                code if code == libc::BPF_JMP | libc::BPF_JSET => {
                    if accumulator & instruction.k != 0 {
                        instruction.jt
                    } else {
                        instruction.jf
                    }
                }
                code if code == libc::BPF_RET => return instruction.k,
                code => panic!("code {code}"),
            };
            at += 1 + usize::from(taken);
        }
    }

    #[test]
    fn calls_get_their_verdicts() {
        let new_user = libc::CLONE_NEWUSER as u32;
        let table = [
            (libc::SYS_read, [0, 0], ALLOW),
            (libc::SYS_execve, [0, 0], ALLOW),
            (libc::SYS_mount, [0, 0], REFUSE),
            (libc::SYS_reboot, [0, 0], REFUSE),
            (libc::SYS_clone3, [0, 0], UNKNOWN),
            (libc::SYS_clone, [libc::CLONE_VM as u32, 0], ALLOW),
            (libc::SYS_clone, [new_user | 17, 0], REFUSE),
            (libc::SYS_unshare, [libc::CLONE_FS as u32, 0], ALLOW),
            (libc::SYS_unshare, [new_user, 0], REFUSE),
            (libc::SYS_ioctl, [0, libc::TIOCGWINSZ as u32], ALLOW),
            (libc::SYS_ioctl, [0, libc::TIOCSTI as u32], REFUSE),
            (libc::SYS_ioctl, [0, libc::TIOCLINUX as u32], REFUSE),
            (libc::SYS_read | i64::from(X32), [0, 0], UNKNOWN),
        ];
        for (number, arguments, expected) in table {
            assert_eq!(verdict(ARCHITECTURE, number, arguments), expected, "{number} {arguments:?}");
        }
        assert_eq!(verdict(0x4000_0003, libc::SYS_read, [0, 0]), REFUSE, "another architecture's numbers");
    }
}
