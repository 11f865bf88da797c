/* The reference strategy ema_cross as a hand-written loop: what the machine can do at most.
 *
 *     ema_cross MARKET BARS BALANCE
 *
 * MARKET holds the columns open, high, low, close, one after the other, BARS doubles each. Prints
 * `seconds trades equity` of one pass over the bars; a pass before it, not timed, warms up.
 * The rules are those of DESIGN section 11. Compile with -O2 -ffp-contract=off: a fused
 * multiply-add rounds once where the rules round twice.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FEE 0.0006
#define SLIPPAGE 0.0002
#define SHARE 0.3
#define STOP 0.02
#define TARGET 0.04
#define FIRST_SIGNAL 48

struct account {
    double cash, quantity, entry, stop, target;
    int side; /* 1 long, -1 short, 0 flat */
    long trades;
};

static void enter(struct account *a, int side, double open) {
    a->side = side;
    a->entry = open * (1.0 + side * SLIPPAGE);
    a->quantity = SHARE * a->cash / a->entry;
    a->stop = a->entry * (1.0 - side * STOP);
    a->target = a->entry * (1.0 + side * TARGET);
    a->cash -= FEE * a->quantity * a->entry;
}

static void leave(struct account *a, double price) {
    a->cash += a->side * (price - a->entry) * a->quantity - FEE * a->quantity * price;
    a->side = 0;
    a->trades++;
}

static double slipped(const struct account *a, double price) {
    return price * (1.0 - a->side * SLIPPAGE);
}

/* The stop comes first; a gap through a level fills at the open; only the stop slips. */
static void check_levels(struct account *a, double open, double high, double low) {
    if (a->side > 0) {
        if (low <= a->stop)
            leave(a, slipped(a, fmin(a->stop, open)));
        else if (high >= a->target)
            leave(a, fmax(a->target, open));
    } else if (a->side < 0) {
        if (high >= a->stop)
            leave(a, slipped(a, fmax(a->stop, open)));
        else if (low <= a->target)
            leave(a, fmin(a->target, open));
    }
}

static struct account run(const double *market, long bars, double balance) {
    const double *open = market, *high = open + bars, *low = high + bars, *close = low + bars;
    struct account a = {.cash = balance};
    double fast = close[0], slow = close[0], diff = 0.0;
    int wanted = 0;
    for (long t = 0; t < bars; t++) {
        if (wanted != 0) {
            if (a.side != 0)
                leave(&a, slipped(&a, open[t]));
            enter(&a, wanted, open[t]);
            wanted = 0;
        }
        check_levels(&a, open[t], high[t], low[t]);
        fast += 2.0 / 13.0 * (close[t] - fast);
        slow += 2.0 / 49.0 * (close[t] - slow);
        double before = diff;
        diff = fast - slow;
        if (t >= FIRST_SIGNAL) {
            int side = before <= 0.0 && diff > 0.0 ? 1 : before >= 0.0 && diff < 0.0 ? -1 : 0;
            if (side != a.side)
                wanted = side;
        }
    }
    if (a.side != 0)
        leave(&a, slipped(&a, close[bars - 1]));
    return a;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    long bars = argc == 4 ? atol(argv[2]) : 0;
    FILE *file = bars > 0 ? fopen(argv[1], "rb") : NULL;
    size_t values = 4 * (size_t)bars;
    double *market = malloc(values * sizeof *market);
    if (file == NULL || market == NULL || fread(market, sizeof *market, values, file) != values) {
        fprintf(stderr, "ema_cross: expected MARKET BARS BALANCE, and 4 x BARS doubles in MARKET\n");
        return 2;
    }
    struct account warm = run(market, bars, atof(argv[3]));
    double began = now();
    struct account a = run(market, bars, atof(argv[3]));
    double seconds = now() - began;
    if (warm.trades != a.trades)
        return 1;
    printf("%.9f %ld %.17g\n", seconds, a.trades, a.cash);
    return 0;
}
