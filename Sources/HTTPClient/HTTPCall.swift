import Memory
import Reactor

/// A request that is under way: plain data, to keep or to forget. On the client's loop. What has ended does not mind being cancelled.
public struct HTTPCall {
    let core: ClientCore
    let handle: Handle<Exchange>

    /// Whether its end has been told.
    public var isEnded: Bool { !core.exchanges.contains(handle) }

    /// Ends it with `.cancelled`, which is told before this returns, and closes the connection that it has.
    public func cancel() { core.finish(handle, .failure(.cancelled)) }

    /// Takes nothing more of the response until `resume`: the rest waits at the server, once the windows between are full.
    public func pause() { core.pause(handle) }

    /// Goes on. What waits here already may be given out before this returns.
    public func resume() { core.resume(handle) }
}
