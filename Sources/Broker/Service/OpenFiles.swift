internal import Glibc

/// How many files, sockets among them, this process may have open.
enum OpenFiles {
    /// Raises the soft limit to the hard one (setrlimit(2)): each connection of a client is a file, and where there is none left further ones are not
    /// even refused, but wait. Where the system does not let it, the limit stays as it is, and `doctor` says so.
    static func allowAll() {
        let files = __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
        var limits = rlimit()
        guard getrlimit(files, &limits) == 0, limits.rlim_cur < limits.rlim_max else { return }
        limits.rlim_cur = limits.rlim_max
        _ = setrlimit(files, &limits)
    }
}
