"""How the report looks, beyond what all pages share, and what it does when touched."""

STYLE = """
:root { --unsure: #9a6a00; --c0: #14589c; --c1: #b0531c; --c2: #1d7f45; }
@media (prefers-color-scheme: dark) {
  :root { --unsure: #e2b552; --c0: #8cbcf0; --c1: #f0a070; --c2: #63cf8f; } }
section { scroll-margin-top: 1rem; }
dl { display: grid; gap: .3rem 1rem; grid-template-columns: max-content 1fr; }
dt { font-weight: 600; } dd { margin: 0; }
.unsure { color: var(--unsure); fill: var(--unsure); }
.c0 { fill: var(--c0); stroke: var(--c0); background: var(--c0); }
.c1 { fill: var(--c1); stroke: var(--c1); background: var(--c1); }
.c2 { fill: var(--c2); stroke: var(--c2); background: var(--c2); }
.charts { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.broad { max-width: 30rem; } .pair img { max-width: 50%; }
.chart { display: block; width: 100%; height: auto; }
.chart text { fill: var(--faint); font: 11px system-ui, sans-serif; stroke: none; }
.chart text.name { fill: var(--ink); stroke: var(--paper); stroke-width: 3px;
  paint-order: stroke; } .chart text.marked { fill: var(--ink); font-weight: 600; }
.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.chart rect { stroke: none; } .chart .grid { stroke: var(--line); }
.chart .middle { stroke: var(--ink); stroke-dasharray: 3 3; }
.chart .threshold { stroke: var(--ink); stroke-width: 2; }
.chart .mark { fill: none; stroke: var(--ink); stroke-width: 2.5; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .2rem 0; font-size: .85rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .3rem; }
.bars { list-style: none; padding: 0; margin: .3rem 0; font-size: .9rem; }
.bars li { display: grid; grid-template-columns: 7.5rem 1fr 3.5rem; gap: .5rem;
  align-items: center; }
.bars b { height: .8rem; background: var(--c0); border-radius: 2px; min-width: 1px; }
.bars span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
.words { list-style: none; padding: 0; max-height: 46rem; overflow-y: auto; }
.words li { display: grid; align-items: center; gap: .3rem 1rem; padding: .5rem .2rem .5rem .8rem;
  grid-template-columns: 5rem minmax(12rem, 20rem) max-content minmax(10rem, 1fr);
  border-bottom: 1px solid var(--line); border-left: 5px solid hsl(var(--word) 60% 50%); }
.words h3 { margin: 0; font-size: 1rem; } .words .row img { max-width: 25%; aspect-ratio: 4 / 3; }
.buttons { display: flex; flex-wrap: wrap; gap: .4rem; }
fieldset { border: 0; padding: 0; margin: .4rem 0; display: flex; flex-wrap: wrap;
  gap: .2rem 1.2rem; }
legend { float: left; padding: 0; margin-right: .6rem; color: var(--faint); }
.map { list-style: none; margin: 0; padding: 0; position: relative;
  aspect-ratio: 4 / 3; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.map li { position: absolute; transition: left .6s, top .6s; }
.map small { display: none; }
.map button { display: block; width: 2.2rem; height: 2.2rem; padding: 0; overflow: hidden;
  border: 2px solid hsl(var(--word) 65% 50%); border-radius: 50%; transition: transform .12s; }
.map button.watched { border-style: dashed; }
.map img { width: 100%; height: 100%; object-fit: cover; border-radius: 0; }
.map li:hover, .map li:focus-within { z-index: 2; }
.map li:hover button, .map button:focus { transform: scale(3.2); border-radius: 12%;
  border-width: 1px; outline: none; }
.maps:has([value=image]:checked) .map li { left: calc(var(--image-x) * (100% - 2.2rem));
  top: calc(var(--image-y) * (100% - 2.2rem)); }
.maps:has([value=word]:checked) .map li { left: calc(var(--word-x) * (100% - 2.2rem));
  top: calc(var(--word-y) * (100% - 2.2rem)); }
.maps:has([value=predicted]:checked) .map li { left: calc(var(--predicted-x) * (100% - 2.2rem));
  top: calc(var(--predicted-y) * (100% - 2.2rem)); }
.maps:has([name=list]:checked) .map { aspect-ratio: auto; display: grid; gap: .5rem; padding: .7rem;
  grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); max-height: 40rem;
  overflow-y: auto; }
.maps:has([name=list]:checked) .map li { position: static; display: flex; gap: .5rem;
  align-items: center; }
.maps:has([name=list]:checked) .map small { display: inline; }
.maps:has([name=list]:checked) .map button { flex: none; transform: none; }
.maps:has([name=list]:checked) .map button:focus { outline: 2px solid var(--link); }
.told { min-height: 1.5em; margin: .3rem 0; color: var(--faint); }
@media (prefers-reduced-motion: reduce) { .map li, .map button { transition: none; } }
@media (max-width: 44rem) {
  .words li { grid-template-columns: 5rem 1fr; }
  .words .row, .words li > :last-child { grid-column: 1 / -1; order: 1; }
  .map { aspect-ratio: 3 / 4; }
  .map button { width: 1.8rem; height: 1.8rem; }
  dl { grid-template-columns: 1fr; } dd { margin-left: 1rem; } }
"""

# Of the map one moment can be reached with the Tab key; the arrows go from there to the nearest.
SCRIPT = """
const ways = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
for (const maps of document.querySelectorAll(".maps")) {
  const points = [...maps.querySelectorAll(".map button")];
  const told = maps.querySelector(".told");
  const name = event => {
    const button = event.target.closest(".map button");
    if (button) told.textContent = button.getAttribute("aria-label");
  };
  points.forEach((point, number) => point.tabIndex = number ? -1 : 0);
  maps.addEventListener("pointerover", name);
  maps.addEventListener("focusin", event => {
    name(event);
    if (points.includes(event.target))
      for (const point of points) point.tabIndex = point === event.target ? 0 : -1;
  });
  maps.addEventListener("keydown", event => {
    const way = ways[event.key];
    if (!way || !points.includes(event.target)) return;
    event.preventDefault();
    const middle = point => {
      const box = point.parentElement.getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    };
    const [x, y] = middle(event.target);
    let next = null, least = Infinity;
    for (const point of points) {
      const [px, py] = middle(point);
      const along = (px - x) * way[0] + (py - y) * way[1];
      const beside = Math.abs((px - x) * way[1]) + Math.abs((py - y) * way[0]);
      if (along > 1 && along + 2 * beside < least) [next, least] = [point, along + 2 * beside];
    }
    if (next) next.focus();
  });
}
"""
