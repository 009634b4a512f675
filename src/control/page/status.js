"use strict";
// Fetches the page itself every two seconds, and puts its parts in place of the old: what is shown is
// what the server wrote, with or without this script.
const EVERY_MS = 2000;
const pause = document.getElementById("pause");
let paused = false;
let timer = 0;
let sortedBy = null;

function sortTable() {
	const table = document.getElementById("workers");
	if (!table || sortedBy === null)
		return;
	const rows = Array.from(table.tBodies[0].rows);
	const value = row => Number(row.cells[sortedBy.column].dataset.value);
	rows.sort((a, b) => sortedBy.down ? value(b) - value(a) : value(a) - value(b));
	table.tBodies[0].append(...rows);
	table.tHead.rows[0].cells[sortedBy.column].setAttribute(
		"aria-sort", sortedBy.down ? "descending" : "ascending");
}

function makeSortable() {
	const table = document.getElementById("workers");
	for (const cell of table ? table.tHead.rows[0].cells : []) {
		const button = document.createElement("button");
		button.textContent = cell.textContent;
		button.addEventListener("click", () => {
			const column = cell.cellIndex;
			const down = !(sortedBy && sortedBy.column === column && sortedBy.down);
			for (const other of cell.parentNode.cells)
				other.removeAttribute("aria-sort");
			sortedBy = {column, down};
			sortTable();
		});
		cell.replaceChildren(button);
	}
	sortTable();
}

function show(next) {
	const verdict = document.getElementById("verdict");
	const now = next.getElementById("verdict");
	// Unchanged text is not announced again.
	if (verdict.textContent !== now.textContent)
		verdict.textContent = now.textContent;
	verdict.className = now.className;
	document.title = next.title;
	const focused = document.activeElement && document.activeElement.closest("th");
	const column = focused ? focused.cellIndex : -1;
	document.getElementById("live").replaceWith(document.adoptNode(next.getElementById("live")));
	makeSortable();
	if (column >= 0)
		document.querySelectorAll("#workers th button")[column]?.focus();
	document.getElementById("age").textContent = next.getElementById("age").textContent;
}

async function update() {
	clearTimeout(timer);
	if (paused || document.hidden)
		return;
	try {
		const answer = await fetch("/", {cache: "no-store"});
		if (answer.ok)
			show(new DOMParser().parseFromString(await answer.text(), "text/html"));
	} catch {
		document.getElementById("age").textContent = "It does not answer; the figures are old.";
	}
	clearTimeout(timer);
	timer = setTimeout(update, EVERY_MS);
}

pause.addEventListener("click", () => {
	paused = !paused;
	pause.textContent = paused ? "Go on" : "Pause";
	pause.setAttribute("aria-pressed", String(paused));
	update();
});
document.addEventListener("visibilitychange", update);
pause.hidden = false;
makeSortable();
timer = setTimeout(update, EVERY_MS);
