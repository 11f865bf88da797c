// Draws the two charts and the list of trades from the JSON in #data. Times are seconds UTC.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = { from: data.period[0], to: data.period[1] };
  const HOUR = 3600, DAY = 24 * HOUR, AXIS = 66, FOOT = 22;
  const canvases = ["equity", "price"].map((id) => document.getElementById(id));
  const reset = document.getElementById("reset");
  const chooser = document.getElementById("symbol");
  let view = { ...all };
  let hover = null; // { canvas, x, y, time } of the pointer
  let drag = null; // x where a selection began
  let chosen = null; // the trade that was clicked in the list
  let marks = []; // trades on the price chart: { x, y, trade }

  const number = (value, digits) => value.toLocaleString("en-US",
    { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "\u2212");
  const signed = (value) => (value < 0 ? "\u2212" : "+") + number(Math.abs(value), 2);
  const price = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 8 });
  const date = (time) => new Date(time * 1000).toISOString().slice(0, 16).replace("T", " ");
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // Returns the first index whose time is not before `time`.
  function lowerBound(times, time) {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < time) low = middle + 1; else high = middle;
    }
    return low;
  }

  function valueTicks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 5].find((k) => k * power >= rough) || 10);
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(i * step);
    return { ticks, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  // Ticks on whole hours, days, months or years, so that labels read as people say them.
  function timeTicks(count) {
    const rough = (view.to - view.from) / count, ticks = [];
    const fixed = [60, 300, 900, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 4 * DAY, 10 * DAY]
      .find((step) => step >= rough);
    if (fixed) {
      for (let t = Math.ceil(view.from / fixed) * fixed; t <= view.to; t += fixed) ticks.push(t);
      return ticks.map((t) => [t, fixed < DAY && t % DAY ? date(t).slice(11) : date(t).slice(5, 10)]);
    }
    const months = [1, 2, 3, 6, 12, 24, 60, 120].find((m) => m * 31 * DAY >= rough) || 240;
    const first = new Date(view.from * 1000).getUTCFullYear() * 12;
    for (let m = first - (first % months); ; m += months) {
      const t = Date.UTC(Math.floor(m / 12), m % 12) / 1000;
      if (t > view.to) break;
      if (t >= view.from) ticks.push([t, months < 12 ? date(t).slice(0, 7) : date(t).slice(0, 4)]);
    }
    return ticks;
  }

  function surface(canvas) {
    const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
    const ctx = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    ctx.scale(ratio, ratio);
    ctx.font = "12px system-ui, sans-serif";
    const color = (name, alpha) => {
      const value = style.getPropertyValue(`--${name}`).trim();
      return alpha === undefined ? value : `rgb(${value} / ${alpha})`;
    };
    const x = (t) => ((t - view.from) / (view.to - view.from)) * (w - AXIS);
    return { canvas, ctx, w: w - AXIS, h, color, x };
  }

  // Draws grid and labels of the area `top`..`bottom`; returns its scale.
  function area(s, top, bottom, low, high, label) {
    const y = (v) => bottom - ((v - low) / (high - low)) * (bottom - top);
    const { ticks, digits } = valueTicks(low, high, Math.max(2, (bottom - top) / 55));
    s.ctx.textAlign = "left";
    s.ctx.textBaseline = "middle";
    for (const v of ticks) {
      line(s, [[0, y(v)], [s.w, y(v)]], s.color("grid"));
      s.ctx.fillStyle = s.color("soft");
      s.ctx.fillText(label(v, digits), s.w + 8, clamp(y(v), 7, s.h - 7));
    }
    return y;
  }

  function timeAxis(s) {
    s.ctx.fillStyle = s.color("soft");
    s.ctx.textBaseline = "bottom";
    for (const [t, text] of timeTicks(Math.max(2, s.w / 95))) {
      line(s, [[s.x(t), 0], [s.x(t), s.h - FOOT]], s.color("grid"));
      s.ctx.textAlign = s.x(t) < 24 ? "left" : "center";
      s.ctx.fillText(text, s.x(t), s.h);
    }
    if (data.halted) verticalLine(s, data.halted, s.color("loss", 1), "halted");
    if (hover) verticalLine(s, hover.time, s.color("soft"), "");
    if (drag !== null && hover && hover.canvas === s.canvas) {
      s.ctx.fillStyle = s.color("gain", 0.15);
      s.ctx.fillRect(drag, 0, hover.x - drag, s.h - FOOT);
    }
  }

  function line(s, points, style, width = 1, dash = []) {
    s.ctx.beginPath();
    points.forEach(([x, y]) => s.ctx.lineTo(x, y));
    s.ctx.strokeStyle = style;
    s.ctx.lineWidth = width;
    s.ctx.setLineDash(dash);
    s.ctx.stroke();
    s.ctx.setLineDash([]);
  }

  function verticalLine(s, t, style, text) {
    if (t < view.from || t > view.to) return;
    line(s, [[s.x(t), 0], [s.x(t), s.h - FOOT]], style, 1, [4, 3]);
    s.ctx.fillStyle = style;
    s.ctx.textAlign = s.x(t) > s.w - 50 ? "right" : "left";
    s.ctx.textBaseline = "top";
    s.ctx.fillText(text, s.x(t) + (s.x(t) > s.w - 50 ? -5 : 5), 2);
  }

  function clipped(s, top, bottom, draw) {
    s.ctx.save();
    s.ctx.beginPath();
    s.ctx.rect(0, top, s.w, bottom - top);
    s.ctx.clip();
    draw();
    s.ctx.restore();
  }

  // The points in view, with one more on each side so that lines reach the edges.
  function visible(series) {
    const first = Math.max(lowerBound(series.t, view.from) - 1, 0);
    const last = Math.min(lowerBound(series.t, view.to) + 1, series.t.length);
    return { t: series.t.slice(first, last), v: series.v.slice(first, last) };
  }

  function curve(s, series, y, base, kind) {
    const points = series.t.map((t, i) => [s.x(t), y(series.v[i])]);
    line(s, points, s.color(kind, 1), 1.6);
    s.ctx.lineTo(points[points.length - 1][0], base);
    s.ctx.lineTo(points[0][0], base);
    s.ctx.fillStyle = s.color(kind, 0.12);
    s.ctx.fill();
  }

  function drawEquity(canvas) {
    const s = surface(canvas), split = (s.h - FOOT) * 0.7, end = s.h - FOOT;
    const equity = visible(data.equity), loss = visible(data.drawdown);
    const low = Math.min(...equity.v), high = Math.max(...equity.v), pad = (high - low) * 0.06 || 1;
    const y = area(s, 6, split - 8, low - pad, high + pad, number);
    const deepest = Math.min(...loss.v, -0.1) * 1.08;
    const below = area(s, split + 8, end, deepest, 0, (v, digits) => `${number(v, digits)} %`);
    timeAxis(s);
    clipped(s, 0, split, () => {
      line(s, [[0, y(data.deposits)], [s.w, y(data.deposits)]], s.color("soft"), 1, [2, 4]);
      curve(s, equity, y, split, "gain");
    });
    clipped(s, split, end, () => curve(s, loss, below, below(0), "loss"));
  }

  // Candles of at least four pixels: neighbours are joined, so no high or low is lost.
  function joined(s, bars) {
    const pixels = (bars.step / (view.to - view.from)) * s.w;
    const join = Math.max(1, Math.ceil(4 / pixels)), found = [];
    for (let k = 0; k < bars.n.length; k++) {
      const t = bars.start + bars.n[k] * bars.step;
      if (t + bars.step < view.from || t > view.to) continue;
      const group = Math.floor(bars.n[k] / join), last = found[found.length - 1];
      if (last && last.group === group) {
        last.h = Math.max(last.h, bars.h[k]);
        last.l = Math.min(last.l, bars.l[k]);
        last.c = bars.c[k];
      } else {
        const from = bars.start + group * join * bars.step;
        found.push({ group, t: from, o: bars.o[k], h: bars.h[k], l: bars.l[k], c: bars.c[k] });
      }
    }
    return { candles: found, span: join * bars.step };
  }

  function drawPrice(canvas) {
    const s = surface(canvas), end = s.h - FOOT, index = Number(chooser.value);
    const { candles, span } = joined(s, data.symbols[index]);
    const low = Math.min(...candles.map((c) => c.l)), high = Math.max(...candles.map((c) => c.h));
    const pad = (high - low) * 0.06 || high * 0.01 || 1;
    marks = [];
    canvas.candles = { candles, span };
    if (!candles.length) return timeAxis(s);
    const y = area(s, 6, end, low - pad, high + pad, number);
    timeAxis(s);
    clipped(s, 0, end, () => {
      const width = Math.max(1, s.x(span) - s.x(0) - 1.5);
      for (const c of candles) {
        const middle = s.x(c.t + span / 2), top = y(Math.max(c.o, c.c)), rising = c.c >= c.o;
        const style = s.color(rising ? "up" : "down"), height = Math.max(1, Math.abs(y(c.o) - y(c.c)));
        line(s, [[middle, y(c.h)], [middle, y(c.l)]], style);
        s.ctx.fillStyle = rising ? s.color("panel") : style;
        s.ctx.fillRect(middle - width / 2, top, width, height);
        if (rising) s.ctx.strokeRect(middle - width / 2, top, width, height);
      }
      data.trades.filter((t) => t.symbol === index && t.exit >= view.from && t.entry <= view.to)
        .forEach((trade) => drawTrade(s, y, trade));
    });
  }

  // Entry: filled, pointing the way of the side. Exit: hollow, pointing the other way.
  function drawTrade(s, y, trade) {
    const style = s.color(trade.pnl > 0 ? "gain" : "loss", 1), strong = trade === chosen;
    const from = [s.x(trade.entry), y(trade.entryPrice)], to = [s.x(trade.exit), y(trade.exitPrice)];
    const up = trade.side === "long" ? 1 : -1;
    line(s, [from, to], style, strong ? 3 : 1.4);
    triangle(s, from, up, style, true, strong ? 9 : 6);
    triangle(s, to, -up, style, false, strong ? 9 : 6);
    marks.push({ x: from[0], y: from[1], trade }, { x: to[0], y: to[1], trade });
  }

  function triangle(s, [x, y], up, style, filled, size) {
    s.ctx.beginPath();
    s.ctx.moveTo(x, y);
    s.ctx.lineTo(x - size * 0.75, y + up * size * 1.4);
    s.ctx.lineTo(x + size * 0.75, y + up * size * 1.4);
    s.ctx.closePath();
    s.ctx.fillStyle = filled ? style : s.color("panel");
    s.ctx.fill();
    s.ctx.lineWidth = filled ? 1 : 1.8;
    s.ctx.strokeStyle = filled ? s.color("panel") : style;
    s.ctx.stroke();
  }

  function equityTip() {
    const at = (series) => {
      const i = clamp(lowerBound(series.t, hover.time), 0, series.t.length - 1);
      const nearer = i > 0 && hover.time - series.t[i - 1] < series.t[i] - hover.time ? i - 1 : i;
      return [series.t[nearer], series.v[nearer]];
    };
    const [time, equity] = at(data.equity), gain = (equity / data.deposits - 1) * 100;
    return `${date(time)} UTC\nequity ${number(equity, 2)} USDT (${signed(gain)} %)\n` +
      `drawdown ${number(at(data.drawdown)[1], 2)} %`;
  }

  function tradeText(t) {
    return `${t.side} ${t.strategy}, ${price(t.contracts)} contracts\n` +
      `in  ${date(t.entry)} at ${price(t.entryPrice)}\nout ${date(t.exit)} at ${price(t.exitPrice)}` +
      ` (${t.reason})\n${signed(t.pnl)} USDT after ${number(t.fees, 2)} fees, ` +
      `${signed(t.funding)} funding`;
  }

  function priceTip(canvas) {
    const distance = (m) => Math.hypot(m.x - hover.x, m.y - hover.y);
    const near = marks.filter((m) => distance(m) < 14).sort((a, b) => distance(a) - distance(b))[0];
    if (near) return tradeText(near.trade);
    const { candles, span } = canvas.candles;
    const candle = candles.find((c) => c.t <= hover.time && hover.time < c.t + span);
    if (!candle) return "";
    return `${date(candle.t)} UTC\nopen ${price(candle.o)}\nhigh ${price(candle.h)}\n` +
      `low ${price(candle.l)}\nclose ${price(candle.c)}`;
  }

  function showTip(canvas) {
    const tip = canvas.parentElement.querySelector(".tip"), mine = hover && hover.canvas === canvas;
    tip.textContent = !mine ? "" : canvas.id === "equity" ? equityTip() : priceTip(canvas);
    tip.hidden = !tip.textContent;
    if (tip.hidden) return;
    const room = canvas.clientWidth - tip.offsetWidth;
    const left = hover.x > room - 16 ? hover.x - tip.offsetWidth - 14 : hover.x + 14;
    const top = clamp(hover.y - tip.offsetHeight - 10, 0, canvas.clientHeight);
    tip.style.transform = `translate(${clamp(left, 0, Math.max(room, 0))}px, ${top}px)`;
  }

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      drawEquity(canvases[0]);
      drawPrice(canvases[1]);
      canvases.forEach(showTip);
      reset.hidden = view.from === all.from && view.to === all.to;
    });
  }

  function show(from, to) {
    const least = 8 * data.timeframe, middle = (from + to) / 2, half = Math.max(to - from, least) / 2;
    view = { from: Math.max(middle - half, all.from), to: Math.min(middle + half, all.to) };
    redraw();
  }

  function listen(canvas) {
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      const x = clamp(event.clientX - box.left, 0, box.width - AXIS);
      const time = view.from + (x / (box.width - AXIS)) * (view.to - view.from);
      hover = { canvas, x, y: event.clientY - box.top, time };
      redraw();
    };
    canvas.addEventListener("pointermove", place);
    canvas.addEventListener("pointerdown", (event) => {
      place(event);
      if (event.pointerType !== "mouse") return; // a finger scrolls and reads values
      canvas.setPointerCapture(event.pointerId);
      drag = hover.x;
    });
    canvas.addEventListener("pointerup", (event) => {
      place(event);
      if (drag !== null && Math.abs(hover.x - drag) > 6) {
        const time = (x) => view.from + (x / (canvas.clientWidth - AXIS)) * (view.to - view.from);
        show(time(Math.min(drag, hover.x)), time(Math.max(drag, hover.x)));
      }
      drag = null;
    });
    for (const name of ["pointerleave", "pointercancel"]) {
      canvas.addEventListener(name, () => { hover = drag = null; redraw(); });
    }
    canvas.addEventListener("dblclick", () => show(all.from, all.to));
  }

  function cells(t) {
    return [date(t.entry), date(t.exit), data.symbols[t.symbol].name, t.strategy, t.side,
      price(t.contracts), price(t.entryPrice), price(t.exitPrice), number(t.fees, 2),
      signed(t.funding), signed(t.pnl), t.reason];
  }

  function row(trade) {
    const tr = document.createElement("tr");
    cells(trade).forEach((text, k) => {
      const td = tr.insertCell();
      td.textContent = text;
      if (k < 5 || k === 11) td.className = "words";
      if (k === 10) td.className = trade.pnl > 0 ? "gain" : "loss";
    });
    tr.tabIndex = 0;
    tr.addEventListener("click", () => {
      chosen = trade;
      chooser.value = trade.symbol;
      const around = Math.max(1.5 * (trade.exit - trade.entry), 24 * data.timeframe);
      show(trade.entry - around, trade.exit + around);
      canvases[1].scrollIntoView({ block: "center", behavior: "smooth" });
    });
    tr.addEventListener("keydown", (event) => { if (event.key === "Enter") tr.click(); });
    return tr;
  }

  function listTrades() {
    const body = document.querySelector("#trades tbody");
    const rows = data.trades.map((trade) => ({ trade, tr: row(trade) }));
    const heads = [...document.querySelectorAll("#trades thead th")];
    const sortBy = (head) => {
      const key = head.dataset.key, falling = head.getAttribute("aria-sort") === "ascending";
      const order = (a, b) => (a.trade[key] < b.trade[key] ? -1 : a.trade[key] > b.trade[key] ? 1 : 0);
      rows.sort((a, b) => (falling ? order(b, a) : order(a, b)));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      body.append(...rows.map((r) => r.tr));
    };
    heads.forEach((head) => head.firstChild.addEventListener("click", () => sortBy(head)));
    body.append(...rows.map((r) => r.tr));
  }

  data.trades = data.trades.map((fields) =>
    Object.fromEntries(data.fields.map((name, k) => [name, fields[k]])));
  canvases.forEach(listen);
  chooser.addEventListener("change", redraw);
  reset.addEventListener("click", () => { chosen = null; show(all.from, all.to); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(redraw).observe(document.body);
  listTrades();
  redraw();
})();
