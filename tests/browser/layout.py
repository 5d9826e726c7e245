"""What is laid out badly on a page, as functions of JavaScript."""

OVERLAPS = """() => {
    const box = (element) => element.getBoundingClientRect();
    const name = (element) => element.textContent.trim() || element.outerHTML;
    const meet = (a, b) =>
        a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    const found = [];
    for (const plot of document.querySelectorAll(".plot > svg")) {
        const labels = [...plot.querySelectorAll("text")].filter((each) => box(each).width);
        const drawn = [...labels, ...plot.querySelectorAll("line, rect, path, circle")];
        for (const label of labels) {
            if (box(label).left < 0 || box(label).right > innerWidth) found.push(name(label));
            for (const other of drawn)
                if (other !== label && meet(box(label), box(other)))
                    found.push(`${name(label)} on ${name(other)}`);
        }
    }
    return found;
}"""
"""Labels of plots that lie on a line, a bar or one another, or leave the screen."""

OVERFLOW = """() => [...document.querySelectorAll("main *:not(svg *)")].filter((element) =>
    !element.parentElement.closest(".scroll") && element.scrollWidth > element.clientWidth + 1 &&
    element.clientWidth && !element.matches(".scroll, summary")
).map(({ outerHTML }) => outerHTML.slice(0, 200))"""
"""Elements whose content does not fit."""

OUTSIDE = """() => {
    const root = document.querySelector("audience-export").shadowRoot;
    const { left, right, bottom } = root.querySelector("dialog").getBoundingClientRect();
    const isOut = left < 0 || right > innerWidth || bottom > innerHeight;
    const out = isOut ? ["the dialog"] : [];
    const foot = root.querySelector("#actions").getBoundingClientRect();
    if (foot.bottom > innerHeight) out.push("the actions");
    for (const part of root.querySelectorAll("dialog *:not(i)")) {
        const box = part.getBoundingClientRect();
        if (box.width && (box.left < left - 1 || box.right > right + 1))
            out.push(part.outerHTML);
    }
    return out;
}"""
"""What sticks out of the dialog or the screen."""
