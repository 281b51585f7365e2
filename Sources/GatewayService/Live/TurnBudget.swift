import Reactor

/// What may be done in one turn of a loop, counted in drivers; the rest is done in the next ones. On the loop.
///
/// Work that finds `isLeft` false stops, and `more` is called in the next turn with a new budget.
final class TurnBudget {
    private let loop: EventLoop
    private let perTurn: Int
    private var left: Int
    private var turn: UInt64 = 0
    private var timer: TimerID?
    /// The most that was done in one turn. For tests and metrics.
    private(set) var mostInATurn = 0
    var more: () -> Void = {}

    init(loop: EventLoop, perTurn: Int) {
        self.loop = loop
        self.perTurn = perTurn
        left = perTurn
    }

    /// Whether more may be done in this turn; if not, `more` is called in the next one.
    func mayGoOn() -> Bool {
        if loop.now != turn {
            turn = loop.now
            left = perTurn
        }
        if left > 0 { return true }
        if timer == nil {
            // Not in this turn: its time has passed.
            timer = loop.schedule(after: 1) { [weak self] in
                guard let self else { return }
                timer = nil
                more()
            }
        }
        return false
    }

    func spend(_ work: Int) {
        left -= work
        mostInATurn = max(mostInATurn, perTurn - left)
    }

    func close() {
        if let timer { loop.cancel(timer) }
        timer = nil
    }
}
