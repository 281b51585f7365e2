import CLinux
import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Names a watched descriptor.
public struct WatchID: Hashable, Sendable {
    let id: ConnectionID
}

extension EventLoop {
    /// Runs `work` in every turn in which `descriptor` is readable: the descriptor of a library, which stays its owner.
    /// `work` has to read it empty, or it is called again and again.
    /// - Throws: `SystemError`, always on a simulated kernel: it has no descriptors of others.
    public func watch(readable descriptor: Int32, _ work: @escaping () -> Void) throws(SystemError) -> WatchID {
        guard system.simulation == nil, let id = hot.value.take(.watch), let place = hot.value.find(id.token) else {
            throw SystemError(
                operation: "watching descriptor \(descriptor)", errno: system.simulation == nil ? EMFILE : ENOSYS)
        }
        let registered = system.register(descriptor, token: id.token, interest: .readable)
        guard registered == 0 else {
            hot.value.giveBack(id)
            throw SystemError(operation: "watching descriptor \(descriptor)", errno: -registered)
        }
        place.value.descriptor = descriptor
        if let free = hot.value.watches.firstIndex(where: { $0 == nil }) {
            hot.value.watches[free] = work
            place.value.detail = Int32(free)
        } else {
            place.value.detail = Int32(hot.value.watches.count)
            hot.value.watches.append(work)
        }
        return WatchID(id: id)
    }

    /// Must be called before the descriptor is closed.
    public func unwatch(_ watch: WatchID) {
        guard let place = hot.value.find(watch.id.token), place.value.kind == .watch else { return }
        system.deregister(place.value.descriptor)
        let dropped = hot.value.watches[Int(place.value.detail)]
        hot.value.watches[Int(place.value.detail)] = nil
        hot.value.giveBack(watch.id)
        withExtendedLifetime(dropped) {}
    }

    func watchReady(_ place: Place<Connection>) {
        hot.value.watches[Int(place.value.detail)]?()
    }

    /// Runs `work` on the loop for each of `signals` that the process gets, by signalfd: no code runs in a signal handler.
    ///
    /// The signals are blocked for the calling thread and the threads that it starts, so this has to be called on the main
    /// thread before there are others; a thread with a signal unblocked would die of it.
    /// - Throws: `SystemError`
    @discardableResult
    public func onSignals(_ signals: [Int32], _ work: @escaping (Int32) -> Void) throws(SystemError) -> WatchID {
        var mask = sigset_t()
        unsafe sigemptyset(&mask)
        for signal in signals { unsafe sigaddset(&mask, signal) }
        let blocked = unsafe pthread_sigmask(SIG_BLOCK, &mask, nil)
        guard blocked == 0 else { throw SystemError(operation: "pthread_sigmask", errno: blocked) }
        let descriptor = unsafe signalfd(
            -1, &mask, Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError(operation: "signalfd", errno: errno) }
        do throws(SystemError) {
            return try watch(readable: descriptor) {
                var information = signalfd_siginfo()
                let size = MemoryLayout<signalfd_siginfo>.size
                while unsafe read(descriptor, &information, size) == size {
                    work(Int32(clamping: information.ssi_signo))
                }
            }
        } catch {
            Glibc.close(descriptor)
            throw error
        }
    }
}
