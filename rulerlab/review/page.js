// Look through the frames of a run and mend its points. The server holds the tracks and the log;
// this page shows them and asks for changes.

const get = (id) => document.getElementById(id);
const picture = get("picture"), times = get("times"), lengths = get("lengths");
const GRAB = 14;  // CSS pixels around a point that take hold of it
const NUDGE = { i: [0, -0.25], k: [0, 0.25], j: [-0.25, 0], l: [0.25, 0] };

let run, tracks, doubts = [], frame = 0, target = 0, point = 0, image = null;
let view = { scale: 1, x: 0, y: 0 };  // CSS pixels per picture pixel, and where its corner lies
const images = new Map();

// --- talking to the server -----------------------------------------------------------------

async function ask(path, body) {
  const answer = await fetch(path, body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const told = await answer.json().catch(() => ({ error: `the server answers ${answer.status}` }));
  if (!answer.ok) throw new Error(told.error || `the server answers ${answer.status}`);
  return told;
}

function say(words, bad = false) {
  get("news").textContent = words;
  get("news").classList.toggle("bad", bad);
}

async function act(path, body, words) {
  try {
    const told = await ask(path, body);
    take(told);
    say(words ? words(told) : "");
  } catch (error) {
    say(error.message, true);
  }
  draw();
}

function take(told) {
  (told.frames || []).forEach((number, row) => {
    tracks.position_px[number] = told.position_px[row];
    tracks.sigma_px[number] = told.sigma_px[row];
    tracks.status[number] = told.status[row];
  });
  doubts = told.doubts;
  get("undo").disabled = get("save").disabled = told.steps === 0;
  get("save").textContent = told.steps ? `Save ${told.steps} correction${told.steps > 1 ? "s" : ""}`
    : "Save";
  listDoubts();
}

// --- frames --------------------------------------------------------------------------------

function load(number) {
  if (!images.has(number)) {
    const loading = new Image();
    loading.src = `frames/${number}.jpg`;
    images.set(number, loading.decode().then(() => loading, () => null));
    if (images.size > 160) images.delete(images.keys().next().value);
  }
  return images.get(number);
}

async function go(number) {  // a frame and its points change together, once its picture is here
  target = Math.max(0, Math.min(run.time_s.length - 1, number));
  const wanted = target, loaded = await load(wanted);
  if (wanted !== target) return;
  if (!loaded) {
    images.delete(wanted);
    say(`frame ${wanted} can't be shown: is the recording still there?`, true);
  }
  [frame, image] = [wanted, loaded];
  draw();
  for (const next of [1, -1, 2, 3, 4]) {
    if (run.time_s[frame + next] !== undefined) load(frame + next);
  }
}

function select(number) {
  const count = tracks.status[0].length;
  point = (number + count) % count;
  draw();
}

// --- changes -------------------------------------------------------------------------------

function place(x, y) {
  const sigma = Number(get("sigma").value);
  if (!(sigma > 0)) { say("the standard deviation must be positive", true); return; }
  act("changes", { changes: [{ frame, point, x_px: x, y_px: y, sigma_px: sigma,
                               status: "edited" }] });
}

const lose = () => act("changes", { changes: [{ frame, point, status: "lost" }] });
const undo = () => act("undo", {}, () => "taken back");
const bridge = () => act("bridge", { frame, point }, (told) => `bridged ${told.frames.length} `
  + `frames, each ±${told.sigma_px[0][point].toFixed(2)} px`);

function again() {
  const before = frame > 0 ? tracks.position_px[frame - 1][point] : null;
  if (!before || before[0] === null) say("the point is lost in the frame before", true);
  else place(...before);
}

async function save() {
  get("save").disabled = true;
  say("saving: segments, load curve, plots and film are made anew ...");
  await act("save", {}, (told) => {
    const curve = told.load_curve;
    const warned = told.warnings.length ? `; ${told.warnings.join("; ")}` : "";
    return curve ? `saved; the load curve is ${curve.regime}${warned}` : `saved${warned}`;
  });
}

function doubtFrom(step) {
  const all = doubts.map((one) => one.first);
  const next = step > 0 ? doubts[all.findIndex((first) => first > frame)]
    : doubts[all.findLastIndex((first) => first < frame)];
  if (!next) { say(step > 0 ? "nothing more to look at" : "nothing before this"); return; }
  point = next.point;
  say(`point ${next.point} ${next.why}`);
  go(next.first);
}

function listDoubts() {
  get("count").textContent = doubts.length ? `(${doubts.length})` : "(nothing)";
  get("doubts").replaceChildren(...doubts.slice(0, 500).map((one) => {
    const row = document.createElement("li"), button = document.createElement("button");
    button.textContent = `${one.first}  p${one.point} ${one.why}`;
    button.onclick = () => { point = one.point; go(one.first); };
    row.append(button);
    return row;
  }));
}

// --- drawing -------------------------------------------------------------------------------

function clear(canvas) {
  const ratio = devicePixelRatio, box = canvas.getBoundingClientRect();
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "11px system-ui, sans-serif";
  return [pen, box.width, box.height];
}

const onScreen = ([x, y]) => [view.x + (x + 0.5) * view.scale, view.y + (y + 0.5) * view.scale];
const inPicture = (x, y) => [(x - view.x) / view.scale - 0.5, (y - view.y) / view.scale - 0.5];

function whole() {
  const box = picture.getBoundingClientRect();
  view.scale = Math.min(box.width / run.width, box.height / run.height);
  view.x = (box.width - run.width * view.scale) / 2;
  view.y = (box.height - run.height * view.scale) / 2;
}

function draw() {
  drawPicture();
  drawTimes();
  drawLengths();
  const here = tracks.position_px[frame][point], code = tracks.status[frame][point];
  get("where").textContent = `frame ${frame} of ${run.time_s.length - 1}, `
    + `${run.time_s[frame].toFixed(3)} s`;
  get("point").textContent = point;
  get("place").textContent = here[0] === null ? run.statuses[code]
    : `${here[0].toFixed(2)}, ${here[1].toFixed(2)} ± ${tracks.sigma_px[frame][point].toFixed(2)}`
      + ` px, ${run.statuses[code]}`;
}

function drawPicture() {
  const [pen, width, height] = clear(picture);
  pen.fillStyle = "#3a3f45";
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingEnabled = view.scale < 4;
  if (image) pen.drawImage(image, view.x, view.y, run.width * view.scale, run.height * view.scale);
  const row = tracks.position_px[frame];
  pen.strokeStyle = "#ffffffb0";
  pen.lineWidth = 1.5;
  pen.beginPath();
  row.forEach((spot, k) => {
    if (spot[0] === null) return;
    pen[k && row[k - 1][0] !== null ? "lineTo" : "moveTo"](...onScreen(spot));
  });
  pen.stroke();
  row.forEach((spot, k) => { if (spot[0] !== null) drawPoint(pen, spot, k); });
}

function drawPoint(pen, spot, k) {
  const [x, y] = onScreen(spot), sigma = tracks.sigma_px[frame][k] * view.scale;
  pen.strokeStyle = run.colours[tracks.status[frame][k]];
  pen.lineWidth = k === point ? 3 : 2;
  pen.beginPath();
  pen.arc(x, y, Math.max(sigma, k === point ? 9 : 6), 0, 7);
  pen.stroke();
  if (k === point) {  // a cross that leaves its middle free
    pen.beginPath();
    for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(x + 3 * a, y + 3 * b);
      pen.lineTo(x + 18 * a, y + 18 * b);
    }
    pen.stroke();
  }
  pen.fillStyle = "#000000b0";
  pen.fillRect(x + 9, y - 22, k > 9 ? 18 : 12, 14);
  pen.fillStyle = "#ffffff";
  pen.fillText(k, x + 12, y - 11);
}

const across = (canvas, number) => (number + 0.5) / run.time_s.length
  * canvas.getBoundingClientRect().width;

function drawTimes() {
  const [pen, width, height] = clear(times), count = tracks.status[0].length;
  const high = height / count, columns = Math.min(Math.ceil(width), run.time_s.length);
  pen.fillStyle = "#eef1f4";
  for (let k = 0; k < count; k += 1) pen.fillRect(0, k * high, width, high - 1);
  for (let column = 0; column < columns; column += 1) {
    const first = Math.floor(column / columns * run.time_s.length);
    const end = Math.max(first + 1, Math.floor((column + 1) / columns * run.time_s.length));
    for (let k = 0; k < count; k += 1) {
      let worst = 0;
      for (let t = first; t < end; t += 1) worst = Math.max(worst, RANK[tracks.status[t][k]]);
      if (!worst) continue;
      pen.fillStyle = run.colours[RANK.indexOf(worst)];
      pen.fillRect(column / columns * width, k * high, Math.max(width / columns, 1.5), high - 1);
    }
  }
  pen.fillStyle = "#0072b226";
  pen.fillRect(0, point * high, width, high - 1);
  drawCursor(pen, times, height);
}

let RANK = [];  // of every status: 0 needs no colour, larger is shown above smaller

function drawCursor(pen, canvas, height) {
  pen.strokeStyle = "#1d2733";
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(across(canvas, frame), 0);
  pen.lineTo(across(canvas, frame), height);
  pen.stroke();
}

function drawLengths() {
  const [pen, width, height] = clear(lengths);
  pen.strokeStyle = "#dde2e8";
  pen.strokeRect(0, 0, width, height);
  [[point - 1, "#0072b2"], [point, "#d55e00"]].forEach(([k, colour], number) => {
    if (k < 0 || k + 1 >= tracks.status[0].length) return;
    const values = tracks.position_px.map((row) => (row[k][0] === null || row[k + 1][0] === null
      ? NaN : Math.hypot(row[k + 1][0] - row[k][0], row[k + 1][1] - row[k][1])));
    const known = values.filter((value) => !Number.isNaN(value));
    if (!known.length) return;
    let low = Infinity, high = -Infinity;
    for (const value of known) { low = Math.min(low, value); high = Math.max(high, value); }
    const room = Math.max(high - low, 1);
    pen.strokeStyle = pen.fillStyle = colour;
    pen.beginPath();
    let drawing = false;
    values.forEach((value, t) => {
      if (Number.isNaN(value)) { drawing = false; return; }
      const spot = [across(lengths, t), height - 6 - (value - low) / room * (height - 12)];
      pen[drawing ? "lineTo" : "moveTo"](...spot);
      drawing = true;
    });
    pen.stroke();
    pen.fillText(`point ${k} to ${k + 1}: ${low.toFixed(1)} to ${high.toFixed(1)} px`,
      6 + 220 * number, 12);
  });
  drawCursor(pen, lengths, height);
}

// --- mouse and keys ------------------------------------------------------------------------

function nearest(x, y) {
  let best = -1, least = GRAB;
  tracks.position_px[frame].forEach((spot, k) => {
    if (spot[0] === null) return;
    const [a, b] = onScreen(spot), away = Math.hypot(a - x, b - y);
    if (away < least) { least = away; best = k; }
  });
  return best;
}

picture.onpointerdown = (event) => {
  picture.focus();
  const [x, y] = [event.offsetX, event.offsetY], hit = nearest(x, y);
  if (event.shiftKey) { place(...inPicture(x, y)); return; }
  picture.setPointerCapture(event.pointerId);
  const held = hit >= 0 ? tracks.position_px[frame][hit] : null, start = { ...view };
  if (hit >= 0) select(hit);
  let moved = false;
  picture.onpointermove = (move) => {
    const [dx, dy] = [move.offsetX - x, move.offsetY - y];
    moved = moved || Math.hypot(dx, dy) > 2;
    if (!moved) return;
    if (held) {
      tracks.position_px[frame][hit] = [held[0] + dx / view.scale, held[1] + dy / view.scale];
    } else {
      [view.x, view.y] = [start.x + dx, start.y + dy];
    }
    draw();
  };
  picture.onpointerup = picture.onpointercancel = () => {
    picture.onpointermove = picture.onpointerup = picture.onpointercancel = null;
    if (held && moved) {
      const to = tracks.position_px[frame][hit];
      tracks.position_px[frame][hit] = held;  // until the server agrees
      place(...to);
    }
  };
};

picture.addEventListener("wheel", (event) => {
  event.preventDefault();
  const by = Math.exp(-event.deltaY / 400), [x, y] = [event.offsetX, event.offsetY];
  const scale = Math.max(0.05, Math.min(60, view.scale * by));
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  draw();
}, { passive: false });

for (const canvas of [times, lengths]) {
  const jump = (event) => {
    if (!event.buttons) return;
    const box = canvas.getBoundingClientRect();
    if (canvas === times && event.type === "pointerdown") {
      point = Math.min(Math.floor(event.offsetY / box.height * tracks.status[0].length),
        tracks.status[0].length - 1);
    }
    go(Math.floor(event.offsetX / box.width * run.time_s.length));
  };
  canvas.onpointerdown = canvas.onpointermove = jump;
}

const KEYS = {
  n: () => doubtFrom(1), p: () => doubtFrom(-1), ",": () => select(point - 1),
  ".": () => select(point + 1), x: lose, b: bridge, z: undo, Enter: again,
  0: () => { whole(); draw(); },
};

addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT") return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "s" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); save(); return; }
  if (key === "z" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); undo(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const spot = tracks.position_px[frame][point];
  if (key === "ArrowRight") go(target + (event.shiftKey ? 10 : 1));
  else if (key === "ArrowLeft") go(target - (event.shiftKey ? 10 : 1));
  else if (NUDGE[key] && spot[0] !== null) {
    place(spot[0] + NUDGE[key][0], spot[1] + NUDGE[key][1]);
  } else if (KEYS[key] && !(key === "Enter" && event.target.tagName === "BUTTON")) KEYS[key]();
  else return;
  event.preventDefault();
});

addEventListener("resize", () => { whole(); draw(); });
Object.entries({ again, bridge, lost: lose, undo, save }).forEach(([id, does]) => {
  get(id).onclick = does;
});

// --- begin ---------------------------------------------------------------------------------

run = await ask("run");
tracks = { position_px: [], sigma_px: [], status: [] };
RANK = run.statuses.map((name) => ["detected", "edited", "predicted", "lost"].indexOf(name));
document.title = get("title").textContent = run.title;
take(await ask("tracks"));
whole();
await go(doubts.length ? doubts[0].first : 0);
document.body.dataset.ready = "yes";
