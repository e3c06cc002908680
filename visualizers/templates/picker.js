"use strict";
for (const box of document.querySelectorAll("[data-picker]")) {
  const links = [...box.querySelectorAll(".picker a")];
  const [attends, matters] = box.querySelectorAll(".stage img");
  const said = box.querySelector(".stage figcaption");
  const show = (link) => {
    const from = document.getElementById(link.hash.slice(1));
    const images = from.querySelectorAll("img");
    attends.src = images[0].src;
    attends.alt = images[0].alt;
    matters.src = images[1].src;
    matters.alt = images[1].alt;
    said.textContent = from.querySelector("figcaption").textContent;
    for (const other of links) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
  };
  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(link);
    });
    link.addEventListener("keydown", (event) => {
      const cell = link.closest("td");
      const row = cell.parentElement;
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === " ") {
        event.preventDefault();
        show(link);
      }
      if (!step) return;
      event.preventDefault();
      const rows = row.parentElement.rows;
      const next = rows[row.rowIndex - 1 + step[0]]?.cells[cell.cellIndex + step[1]]?.querySelector("a");
      if (next) {
        next.focus();
        show(next);
      }
    });
  }
}
