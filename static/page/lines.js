// The lines of the last minutes, drawn as SVG from the server's samples: [Unix time, tokens/s, W, °C].

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 40;
const MOST = 240;

let samples = [];

/** The samples that are new; `whole`: instead of those that are known. */
export function take(news, whole) {
  if (!whole && !news.length) return;
  samples = (whole ? news : [...samples, ...news]).slice(-MOST);
  for (const place of document.querySelectorAll("[data-line]")) draw(place, Number(place.dataset.line));
}

function draw(place, column) {
  const points = samples.map((sample) => [sample[0], sample[column]]);
  const values = points.map(([, value]) => value).filter((value) => value !== null);
  if (!values.length || points.length < 2) {
    place.replaceChildren();
    return;
  }
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  const top = Math.max(...values, 1);
  const bottom = column === 3 ? Math.min(...values) - 5 : 0;
  const x = (time) => ((time - first) / Math.max(1, last - first)) * WIDTH;
  const y = (value) => HEIGHT - 2 - ((value - bottom) / Math.max(1e-9, top - bottom)) * (HEIGHT - 4);
  const picture = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const minutes = Math.max(1, Math.round((last - first) / 60));
  picture.setAttribute(
    "aria-label",
    `The last ${minutes} minutes in ${place.dataset.unit}: at most ${Math.max(...values)}, now ${values.at(-1)}`,
  );
  for (const part of parts(points)) {
    const drawn = part.map(([time, value]) => `${x(time).toFixed(1)} ${y(value).toFixed(1)}`);
    const along = `M${drawn.join("L")}`;
    const under = `${along}L${x(part.at(-1)[0]).toFixed(1)} ${HEIGHT}L${x(part[0][0]).toFixed(1)} ${HEIGHT}Z`;
    picture.append(element("path", { d: under, class: "under" }), element("path", { d: along, class: "along" }));
  }
  place.replaceChildren(picture);
}

/** Without the gaps where nothing was known. */
function parts(points) {
  const found = [[]];
  for (const point of points) {
    if (point[1] === null) found.push([]);
    else found.at(-1).push(point);
  }
  return found.filter((part) => part.length > 1);
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
