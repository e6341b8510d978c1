'use strict';
// Draws what /dashboard/history and /dashboard/now say. The server keeps the last ten minutes, so
// that a reload shows them at once; after that, a sample a second is fetched.

const $ = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const count = (n) => {
  if (n == null) return '–';
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (Math.abs(n) >= size) return (n / size).toPrecision(3) + unit;
  }
  return Number.isInteger(n) ? String(n) : n.toPrecision(3);
};
const bytes = (n) => {
  if (n == null) return '–';
  for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) {
    if (n >= size) return (n / size).toPrecision(3) + ' ' + unit;
  }
  return n + ' B';
};
const time = (s) => {
  if (s == null) return '–';
  if (s >= 1) return s.toPrecision(3) + ' s';
  return s >= 1e-3 ? (s * 1e3).toPrecision(3) + ' ms' : (s * 1e6).toPrecision(3) + ' µs';
};
const percent = (share) => (share == null ? '–' : (share * 100).toFixed(1) + ' %');
const span = (s) => {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const at = Math.max(0, parts.findIndex(([size]) => s >= size));
  return parts.slice(at, at + 2)
    .map(([size, unit], i) => Math.floor((i ? s % parts[at][0] : s) / size) + ' ' + unit).join(' ');
};
const clock = (t) => new Date(t * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
const POWERS = Array.from({ length: 50 }, (_, i) => 2 ** i);
const ratio = (part, other) => (part + other > 0 ? part / (part + other) : null);

// Each chart: its title, how values are written, and its lines as [label, colour, value of a sample].
const CHARTS = [
  ['Requests per second', count, [
    ['GET, HEAD', '--c1', (s) => s.read], ['PUT, POST', '--c2', (s) => s.write],
    ['DELETE', '--c3', (s) => s.delete], ['other', '--c4', (s) => s.other]]],
  ['Hit ratio', percent, [['hits', '--c3', (s) => ratio(s.hits, s.misses)]], { range: [0, 1] }],
  ['Latency in the server', time, [
    ['p50', '--c1', (s) => s.p50], ['p99', '--c5', (s) => s.p99], ['p99.9', '--c6', (s) => s.p999]],
    { log: true }],
  ['Memory', bytes, [
    ['stored', '--c1', (s) => s.stored_bytes], ['limit', '--c6', () => info.memory_limit_bytes]],
    { range: [0, null] }],
  ['Keys dropped per second', count, [
    ['evicted', '--c2', (s) => s.evicted], ['expired', '--c4', (s) => s.expired]]],
  ['Connections', count, [['open', '--c1', (s) => s.connections]]],
  ['Load of each core', percent, (i) => ['core ' + i, '--c' + (i % 6 + 1), (s) => s.core_busy[i]],
    { range: [0, 1] }],
  ['Requests per second of each core', count,
    (i) => ['core ' + i, '--c' + (i % 6 + 1), (s) => s.core_requests[i]]],
];

let info = {};
let samples = [];
let plots = [];
let shown = 600;
let paused = false;

const lines = (spec) => Array.isArray(spec) ? spec : Array.from({ length: info.cores }, (_, i) => spec(i));

function draw() {
  for (const plot of plots) plot.destroy();
  const width = (element) => Math.max(200, element.clientWidth);
  plots = CHARTS.map(([title, format, spec, options = {}], index) => {
    const place = $('chart-' + index);
    const axis = { stroke: color('--faint'), grid: { stroke: color('--line'), width: 1 }, ticks: { stroke: color('--line') } };
    const value = (_, v) => format(v);
    const scale = options.log ? { distr: 3 } : { range: (_, low, high) => {
      const [from, to] = options.range || [0, null];
      return [from, to ?? Math.max(high ?? 0, from) * 1.05 + (high ? 0 : 1)];
    } };
    return new uPlot({
      width: width(place), height: 190,
      scales: { y: scale },
      cursor: { sync: { key: 'all' } },
      axes: [{ ...axis, space: 70, values: (_, all) => all.map(clock) },
        { ...axis, size: 68, ...(format === bytes && { incrs: POWERS }), values: (_, all) => all.map((v) => (v == null ? '' : format(v))) }],
      series: [{ value: (_, t) => (t == null ? '–' : new Date(t * 1000).toLocaleTimeString()) },
        ...lines(spec).map(([label, name]) => ({ label, stroke: color(name), width: 1.5, value, points: { show: false } }))],
    }, data(spec), place);
  });
}

function data(spec) {
  const part = samples.slice(-shown);
  return [part.map((s) => s.time), ...lines(spec).map(([, , of]) => part.map((s) => of(s) ?? null))];
}

function update() {
  if (!samples.length) return;
  const last = samples[samples.length - 1];
  const tile = (id, text) => { $(id).textContent = text; };
  tile('requests', count(last.read + last.write + last.delete + last.other));
  tile('hit-ratio', percent(ratio(last.hits, last.misses)));
  tile('p99', time(last.p99));
  tile('memory', bytes(last.stored_bytes));
  tile('keys', count(last.keys));
  tile('connections', count(last.connections));
  plots.forEach((plot, index) => {
    plot.setData(data(CHARTS[index][2]));
    // Where nothing is pointed at, the legend shows the last second.
    if (plot.cursor.idx == null) plot.setLegend({ idx: plot.data[0].length - 1 });
  });
}

function say(text, down) {
  $('state').textContent = text;
  $('state').classList.toggle('down', Boolean(down));
}

async function fetchJson(path) {
  const response = await fetch(path, { cache: 'no-store' });
  if (!response.ok) throw new Error(response.status + ' ' + response.statusText);
  return response.json();
}

async function load() {
  const history = await fetchJson('/dashboard/history');
  info = history;
  samples = history.samples;
  draw();
  update();
}

async function poll() {
  if (paused || document.hidden) return;
  try {
    const now = await fetchJson('/dashboard/now');
    const last = samples[samples.length - 1];
    const sample = now.samples[0];
    // A gap, or another server: everything anew.
    const is_next = info.started === now.started && last && sample && sample.time - last.time <= 2;
    if (!is_next) {
      await load();
    } else if (sample.time > last.time) {
      samples.push(sample);
      samples = samples.slice(-600);
      update();
    }
    say('corekv ' + now.version + ', up ' + span(now.uptime_seconds) + ', limit ' + bytes(now.memory_limit_bytes));
  } catch (error) {
    say('no answer from the server: ' + error.message, true);
  }
}

for (const button of document.querySelectorAll('[data-seconds]')) {
  button.addEventListener('click', () => {
    shown = Number(button.dataset.seconds);
    for (const other of document.querySelectorAll('[data-seconds]')) {
      other.setAttribute('aria-pressed', String(other === button));
    }
    update();
  });
}
$('pause').addEventListener('click', () => {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', String(paused));
  poll();
});

CHARTS.forEach(([title, format, spec], index) => {
  const section = document.createElement('section');
  const heading = document.createElement('h2');
  heading.textContent = title;
  heading.id = 'title-' + index;
  const place = document.createElement('div');
  place.className = 'chart';
  place.id = 'chart-' + index;
  place.tabIndex = 0;
  place.setAttribute('role', 'group');
  place.setAttribute('aria-labelledby', heading.id);
  // The arrow keys do what the pointer does: the legend shows the values of that second.
  place.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    const plot = plots[index];
    if (!step || !plot || !plot.data[0].length) return;
    event.preventDefault();
    const end = plot.data[0].length - 1;
    const at = Math.min(end, Math.max(0, (plot.cursor.idx ?? end) + step));
    plot.setCursor({ left: plot.valToPos(plot.data[0][at], 'x'), top: 10 });
  });
  section.append(heading, place);
  $('charts').append(section);
});

const fit = () => plots.forEach((plot, index) => {
  const width = Math.max(200, $('chart-' + index).clientWidth);
  if (width !== plot.width) plot.setSize({ width, height: 190 });
});
new ResizeObserver(() => requestAnimationFrame(fit)).observe($('charts'));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { draw(); update(); });
document.addEventListener('visibilitychange', poll);

poll();
setInterval(poll, 1000);
